import { randomBytes } from 'node:crypto'

import type { FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { sendBlob } from '../../../p2p-daemon/http/blob-body.ts'
import type { BlobRead } from '../../../p2p-daemon/store/blob-store.ts'
import { createService } from '../../../shared/http/service.ts'
import { MiB } from '../../../shared/limits.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { until } from '../../helpers/mesh.ts'

const HASH = 'ab'.repeat(32)

let app: FastifyInstance
let url: string
let blob: BlobRead
let isOver: boolean

function serve(chunks: readonly Uint8Array[], init: { failAfter?: number } = {}): Uint8Array[] {
  const released: Uint8Array[] = []
  const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  isOver = false
  async function* body(): AsyncGenerator<Uint8Array> {
    try {
      for (const [at, chunk] of chunks.entries()) {
        if (at === init.failAfter) throw new Error('The copy is damaged.')
        yield chunk
      }
    } finally {
      isOver = true
    }
  }
  blob = {
    hash: HASH,
    sizeBytes,
    start: 0,
    end: sizeBytes - 1,
    body: body(),
    // As a pool does at once when the memory is asked for again.
    release: (chunk) => {
      released.push(Buffer.from(chunk))
      chunk.fill(0)
    },
  }
  return released
}

beforeEach(async () => {
  app = createService({ log: createSilentLogger(), registry: new Registry() })
  app.get('/blob', (_request, reply) => {
    reply.header('content-length', blob.sizeBytes)
    return sendBlob(reply, blob)
  })
  url = `${await app.listen({ host: '127.0.0.1', port: 0 })}/blob`
})

afterEach(() => app.close())

describe('the body of a blob', () => {
  it.each([1, 2, 7])('comes whole in %i chunks, whose memory is given back', async (count) => {
    const chunks = Array.from({ length: count }, () => randomBytes(MiB))
    const bytes = Buffer.concat(chunks)
    const released = serve(chunks)
    const answer = await fetch(url)
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true)
    expect(answer.headers.get('content-type')).toBe('application/octet-stream')
    await until(() => released.length === count, 'all chunks to be released')
    expect(Buffer.concat(released).equals(bytes)).toBe(true)
    expect(isOver).toBe(true)
  })

  it('is empty for a blob without bytes', async () => {
    serve([])
    const answer = await fetch(url)
    expect((await answer.arrayBuffer()).byteLength).toBe(0)
  })

  it('is cut when the copy turns out bad on the way', async () => {
    serve([randomBytes(MiB), randomBytes(MiB), randomBytes(MiB)], { failAfter: 2 })
    const answer = await fetch(url)
    await expect(answer.arrayBuffer()).rejects.toThrow()
  })

  it('is not read on when the caller leaves', async () => {
    const released = serve(Array.from({ length: 200 }, () => Buffer.alloc(MiB)))
    const controller = new AbortController()
    const answer = await fetch(url, { signal: controller.signal })
    await answer.body?.getReader().read()
    controller.abort()
    await until(() => isOver, 'the end of the read')
    expect(released.length).toBeLessThan(200)
  })
})
