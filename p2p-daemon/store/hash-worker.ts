import { parentPort } from 'node:worker_threads'

import { hashBytes } from '../../shared/blob/hash.ts'

/** What the pool sends; the buffer is moved here and back, never copied. */
export interface HashRequest {
  id: number
  buffer: ArrayBuffer
  /** Bytes to hash, from the first. */
  length: number
}

export interface HashAnswer {
  id: number
  buffer: ArrayBuffer
  hash: string
}

parentPort?.on('message', ({ id, buffer, length }: HashRequest) => {
  const answer: HashAnswer = { id, buffer, hash: hashBytes(new Uint8Array(buffer, 0, length)) }
  parentPort?.postMessage(answer, [buffer])
})
