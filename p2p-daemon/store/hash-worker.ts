import { parentPort } from 'node:worker_threads'

import { hashBytes } from '../../shared/blob/hash.ts'

/** What the pool sends; the buffer is moved here and back, never copied. */
export interface HashRequest {
  id: number
  buffer: ArrayBuffer
}

export interface HashAnswer {
  id: number
  buffer: ArrayBuffer
  hash: string
}

parentPort?.on('message', ({ id, buffer }: HashRequest) => {
  const answer: HashAnswer = { id, buffer, hash: hashBytes(new Uint8Array(buffer)) }
  parentPort?.postMessage(answer, [buffer])
})
