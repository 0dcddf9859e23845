import { once } from 'node:events'
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

import type { FastifyReply } from 'fastify'

import type { BlobRead } from '../store/blob-store.ts'

/**
 * Answers with a blob, past Fastify: chunk by chunk, the next when the kernel has the one before,
 * whose memory then serves the next. A body that cannot be read to its end is cut, never ended.
 */
export async function sendBlob(reply: FastifyReply, blob: BlobRead): Promise<void> {
  const { raw, request } = reply
  reply.type('application/octet-stream').hijack()
  raw.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders)
  try {
    let left = blob.end - blob.start + 1
    for await (const chunk of blob.body) {
      left -= chunk.byteLength
      await send(raw, chunk, left === 0)
      if (raw.destroyed) return
      blob.release?.(chunk)
    }
    raw.end()
  } catch (error) {
    if (!raw.destroyed) {
      request.log.error({ err: error, hash: blob.hash, requestId: request.id }, 'blob cut')
    }
    raw.destroy()
  }
}

/** Resolves when the chunk is with the kernel, or when there is nobody left to take it. */
async function send(raw: ServerResponse, chunk: Uint8Array, isLast: boolean): Promise<void> {
  const left = new AbortController()
  const gone = once(raw, 'close', { signal: left.signal }).catch(() => undefined)
  const sent = new Promise<void>((resolve) => {
    if (isLast) raw.end(chunk, resolve)
    else raw.write(chunk, () => resolve())
  })
  await Promise.race([sent, gone])
  left.abort()
}
