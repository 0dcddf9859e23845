import type { FastifyReply } from 'fastify'
import { LRUCache } from 'lru-cache'

import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { BlobNotFoundError } from '../../shared/errors.ts'
import { KiB } from '../../shared/limits.ts'

/** Content up to this size is kept in memory; larger content is not worth evicting many for. */
const CONTENT_BYTES_KEPT_MAX = 64 * KiB

interface Kept {
  bytes: Buffer
  servedBy: string
}

/** Content by hash, as the daemon verified it. Content never changes, so what is kept is right. */
export class ContentReader {
  readonly #daemon: Pick<DaemonClient, 'getBlob'>
  readonly #kept: LRUCache<string, Kept>

  constructor(components: { daemon: Pick<DaemonClient, 'getBlob'> }, init: { bytesMax: number }) {
    this.#daemon = components.daemon
    this.#kept = new LRUCache({
      maxSize: Math.max(init.bytesMax, 1),
      maxEntrySize: CONTENT_BYTES_KEPT_MAX,
      sizeCalculation: ({ bytes }) => bytes.length + 256,
    })
  }

  /** Sends the content or the range of it; headers set before are kept. */
  async send(
    reply: FastifyReply,
    hash: string,
    options: CallOptions & { range?: string },
  ): Promise<FastifyReply> {
    const kept = options.range ? undefined : this.#kept.get(hash)
    if (kept) return reply.header('bzzz-served-by', kept.servedBy).send(kept.bytes)
    const head = reply.request.method === 'HEAD'
    const answer = await this.#daemon.getBlob(hash, { ...options, head })
    const servedBy = String(answer.headers['bzzz-served-by'] ?? '')
    reply.code(answer.status).header('bzzz-served-by', servedBy).header('accept-ranges', 'bytes')
    const contentRange = answer.headers['content-range']
    if (contentRange) reply.header('content-range', contentRange)
    const length = Number(answer.headers['content-length'])
    if (!head && answer.status === 200 && length <= CONTENT_BYTES_KEPT_MAX) {
      const bytes = Buffer.from(await answer.body.arrayBuffer())
      if (bytes.length !== length) throw new BlobNotFoundError('The content arrived incomplete.')
      this.#kept.set(hash, { bytes, servedBy })
      return reply.send(bytes)
    }
    if (Number.isFinite(length)) reply.header('content-length', length)
    return reply.send(answer.body)
  }
}
