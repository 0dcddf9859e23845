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
      if (left === 0) {
        end(raw, chunk, blob)
        return
      }
      await sent(raw, chunk)
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

/** Most blobs are one chunk: nothing waits for it. */
function end(raw: ServerResponse, chunk: Uint8Array, { release }: BlobRead): void {
  raw.end(chunk, () => {
    // Of a connection that broke the kernel may still hold the memory.
    if (raw.writableFinished) release?.(chunk)
  })
}

/** Resolves when the chunk is with the kernel, or when there is nobody left to take it. */
async function sent(raw: ServerResponse, chunk: Uint8Array): Promise<void> {
  const over = new AbortController()
  const gone = once(raw, 'close', { signal: over.signal }).catch(() => undefined)
  const written = new Promise<void>((resolve) => {
    raw.write(chunk, () => resolve())
  })
  await Promise.race([written, gone])
  over.abort()
}
