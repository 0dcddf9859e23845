import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { checkLabel } from '../../shared/address/labels.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import { isHash, parseHash } from '../../shared/blob/hash.ts'
import { BlobNotFoundError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { checkBodySize, receiveBody } from '../../shared/http/body.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { parseRange } from '../../shared/http/range.ts'
import type { Quotas } from '../lifetime/quotas.ts'
import type { Retention } from '../lifetime/retention.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { ReplicatedStore } from '../replication/replicated-store.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { sendBlob } from './blob-body.ts'

export interface BlobRoutesOptions {
  blobs: ReplicatedStore
  /** The disk of this node alone. */
  local: Pick<BlobStore, 'list'>
  /** Told of what was put, so that a record written next need not ask for it again. */
  retention: Pick<Retention, 'note'>
  quotas: Pick<Quotas, 'check'>
  selfId: string
  putBytesMax: number
}

/** How many nodes must hold a blob before its put is answered. */
export const ACK_QUERY = { ack: z.enum(['1', 'quorum', 'all']).optional() }

const putQuery = z.object(ACK_QUERY)

const listQuery = z.object({
  after: z.string().refine(isHash, 'not a BLAKE3 hash').optional(),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
})

interface HashParams {
  Params: { hash: string }
}

/** Content never changes under its hash, so every cache may keep it for good. */
const IMMUTABLE = 'public, max-age=31536000, immutable'

/** `PUT /v1/blobs`, `GET /v1/blobs` (what is on this node), `GET|HEAD /v1/blobs/:hash`. */
export async function blobRoutes(app: FastifyInstance, options: BlobRoutesOptions): Promise<void> {
  const { blobs, local, retention, quotas, selfId, putBytesMax } = options
  // Whatever the content type says, the body is bytes and stays a stream.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))

  app.put('/v1/blobs', { config: { scope: 'blob:write' } }, async (request, reply) => {
    const { ack } = parseWith(putQuery, request.query)
    checkBodySize(request, putBytesMax)
    const announced = request.headers['bzzz-hash']
    const expected = typeof announced === 'string' ? parseHash(announced) : undefined
    checkQuota(request, quotas, expected)
    const result = await blobs.put(receiveBody(request), {
      sizeBytesMax: putBytesMax,
      signal: abandonedSignal(reply),
      ...(ack && { ack }),
      ...(expected !== undefined && { expectedHash: expected }),
    })
    retention.note(result)
    reply.code(result.existed ? 200 : 201).header('etag', `"${result.hash}"`)
    const { hash, sizeBytes, replicas, underReplicated } = result
    return { hash, size: sizeBytes, replicas, underReplicated }
  })

  const scope = { config: { scope: 'blob:read' as const } }
  // Whoever knows a hash may read it, so a list of them is for those who may see every project.
  const list = { config: { ...scope.config, projects: 'every' as const } }

  app.get('/v1/blobs', list, async (request, reply) => {
    const { after, limit } = parseWith(listQuery, request.query)
    const signal = abandonedSignal(reply)
    const page: { hash: string; size: number }[] = []
    for await (const stat of local.list({ ...(after && { after }), limit, signal })) {
      page.push({ hash: stat.hash, size: stat.sizeBytes })
    }
    return { blobs: page, next: page.length === limit ? page.at(-1)!.hash : null }
  })

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
    return sendBlob(reply, blob)
  })
}

/**
 * What is put for the address of a project is refused before its body is read when the project has
 * no room for it. It counts once a record names it.
 */
export function checkQuota(
  request: FastifyRequest,
  quotas: Pick<Quotas, 'check'>,
  hash: string | undefined,
): void {
  const header = request.headers['bzzz-project']
  if (typeof header !== 'string') return
  const project = checkLabel('project', header)
  requireProject(request, project)
  const sizeBytes = Number(request.headers['content-length'] ?? 0)
  quotas.check(project, { hash, sizeBytes })
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
