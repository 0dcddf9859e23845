import { Readable } from 'node:stream'

import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'

import { parseHash } from '../../shared/blob/hash.ts'
import { BlobNotFoundError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { checkBodySize, receiveBody } from '../../shared/http/body.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { parseRange } from '../../shared/http/range.ts'
import type { ReplicatedStore } from '../replication/replicated-store.ts'

export interface BlobRoutesOptions {
  blobs: ReplicatedStore
  selfId: string
  putBytesMax: number
}

const putQuery = z.object({ ack: z.enum(['1', 'quorum', 'all']).optional() })

interface HashParams {
  Params: { hash: string }
}

/** Content never changes under its hash, so every cache may keep it for good. */
const IMMUTABLE = 'public, max-age=31536000, immutable'

/** `PUT /v1/blobs`, `GET|HEAD /v1/blobs/:hash`. */
export async function blobRoutes(app: FastifyInstance, options: BlobRoutesOptions): Promise<void> {
  const { blobs, selfId, putBytesMax } = options
  // Whatever the content type says, the body is bytes and stays a stream.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))

  app.put('/v1/blobs', { config: { scope: 'blob:write' } }, async (request, reply) => {
    const { ack } = parseWith(putQuery, request.query)
    checkBodySize(request, putBytesMax)
    const expected = request.headers['bzzz-hash']
    const result = await blobs.put(receiveBody(request), {
      sizeBytesMax: putBytesMax,
      signal: abandonedSignal(reply),
      ...(ack && { ack }),
      ...(typeof expected === 'string' && { expectedHash: parseHash(expected) }),
    })
    reply.code(result.existed ? 200 : 201).header('etag', `"${result.hash}"`)
    const { hash, sizeBytes, replicas, underReplicated } = result
    return { hash, size: sizeBytes, replicas, underReplicated }
  })

  const scope = { config: { scope: 'blob:read' as const } }

  app.head<HashParams>('/v1/blobs/:hash', scope, async (request, reply) => {
    const hash = parseHash(request.params.hash)
    const stat = await blobs.stat(hash, abandonedSignal(reply))
    if (!stat) throw notFound(hash)
    return headers(reply, hash, selfId).header('content-length', stat.sizeBytes).send()
  })

  app.get<HashParams>('/v1/blobs/:hash', scope, async (request, reply) => {
    const hash = parseHash(request.params.hash)
    if (request.headers['if-none-match']?.includes(`"${hash}"`)) {
      return headers(reply, hash, selfId).code(304).send()
    }
    const signal = abandonedSignal(reply)
    const stat = request.headers.range ? await blobs.stat(hash, signal) : undefined
    const range = stat && parseRange(request.headers.range, stat.sizeBytes)
    const blob = await blobs.get(hash, { ...range, signal })
    headers(reply, hash, selfId).header('content-length', blob.end - blob.start + 1)
    if (range) {
      reply.code(206).header('content-range', `bytes ${blob.start}-${blob.end}/${blob.sizeBytes}`)
    }
    return reply.send(Readable.from(blob.body, { objectMode: false }))
  })
}

function notFound(hash: string): BlobNotFoundError {
  return new BlobNotFoundError(`No node that answers holds ${hash}.`)
}

function headers(reply: FastifyReply, hash: string, selfId: string): FastifyReply {
  return reply
    .header('etag', `"${hash}"`)
    .header('cache-control', IMMUTABLE)
    .header('accept-ranges', 'bytes')
    .header('bzzz-served-by', selfId)
    .type('application/octet-stream')
}
