import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import {
  recordName,
  type ContentAddress,
  type SemanticAddress,
} from '../../shared/address/address.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { InvalidAddressError, InvalidRequestError, ScopeMissingError } from '../../shared/errors.ts'
import type { Aliases } from '../../shared/v1/aliases.ts'
import type { ContentReader } from './content-reader.ts'
import type { ContentWriter } from './content-writer.ts'
import { findOldName, oldNameOf, toChoice, type OldNameAsked } from './old-names.ts'
import type { CachedResolution, RecordCache } from './record-cache.ts'
import { readTarget, type Target } from './target.ts'

export interface ResolveRoutesOptions {
  daemon: Pick<DaemonClient, 'history'>
  records: RecordCache
  reader: ContentReader
  writer: ContentWriter
  /** Names of v1; null without a database. */
  aliases: Aliases | null
}

/** Content never changes under its hash, nor does a numbered version. */
const IMMUTABLE = 'private, max-age=31536000, immutable'

/** `GET HEAD PUT /<address without bzzz://>`, `GET HEAD /b3/<hash>`. */
export async function resolveRoutes(
  app: FastifyInstance,
  options: ResolveRoutesOptions,
): Promise<void> {
  const { writer } = options
  // Whatever the content type says, the body is bytes and stays a stream.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))

  // No time-out of the function's own: content may be gigabytes. A transfer that stands still is
  // ended by the idle limits of the connections on both sides.
  const read = { config: { scope: 'address:read' as const, execTimeoutMs: 0 } }
  app.get('/*', read, (request, reply) => answer(options, request, reply))
  app.head('/*', read, (request, reply) => answer(options, request, reply))

  const write = { config: { scope: 'address:write' as const, execTimeoutMs: 0 } }
  app.put('/*', write, async (request, reply) => {
    const { address, query } = readTarget(request.raw.url ?? '')
    if (address.kind === 'content') {
      throw new InvalidAddressError('Content is stored under a name; its hash follows from it.')
    }
    if (address.version !== undefined || address.at !== undefined) {
      throw new InvalidAddressError('A version is read, not written; ?version=N is a condition.')
    }
    requireProject(request, address.project)
    requireBlobScope(request, 'blob:write')
    const { created, written } = await writer.write(
      request,
      address,
      query.version,
      callOptions(request),
    )
    reply.code(created ? 201 : 200).header('etag', `"${written.hash}"`)
    reply.header('bzzz-address', written.address).header('bzzz-version', written.version)
    return written
  })
}

async function answer(
  options: ResolveRoutesOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const url = request.raw.url ?? ''
  const old = options.aliases && oldNameOf(url)
  if (options.aliases && old) return answerOldName(options, options.aliases, old, request, reply)
  return answerAddress(options, readTarget(url), request, reply)
}

async function answerAddress(
  options: ResolveRoutesOptions,
  { address, text, query }: Target,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  if (query.version !== undefined) {
    throw new InvalidRequestError(
      'The query version=N is a condition of a PUT; read a version with ?v=N.',
    )
  }
  if (address.kind === 'content') return answerContent(options, address, request, reply)
  requireProject(request, address.project)
  if (query.history !== undefined) return answerHistory(options, address, query, request)
  const { record, headers, json } = await resolution(options.records, text, request)
  reply.headers(headers)
  reply.header('cache-control', address.version === undefined ? 'private, no-cache' : IMMUTABLE)
  if (query.record !== undefined) return reply.type('application/json; charset=utf-8').send(json)
  requireBlobScope(request, 'blob:read')
  return sendContent(options, request, reply, record)
}

/** A thread as its address is answered; an entry as the bytes that v1 wrote. */
async function answerOldName(
  options: ResolveRoutesOptions,
  aliases: Aliases,
  old: OldNameAsked,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const alias = await findOldName(aliases, old, request, reply)
  if (alias === null) return reply
  const { address, blob } = alias
  if (blob === null) {
    const target = readTarget(address.slice('bzzz://'.length) + (old.record ? '?record' : ''))
    reply.header('bzzz-address', address)
    return answerAddress(options, target, request, reply)
  }
  reply.header('cache-control', 'private, no-cache').header('bzzz-address', address)
  if (old.record) return { name: old.text, ...toChoice(alias) }
  requireBlobScope(request, 'blob:read')
  return sendContent(options, request, reply, { hash: blob, mediaType: 'application/json' })
}

async function resolution(
  records: RecordCache,
  text: string,
  request: FastifyRequest,
): Promise<CachedResolution> {
  const fresh = request.headers['cache-control']?.includes('no-cache') ?? false
  const known = fresh ? undefined : await records.recall(text)
  return known ?? records.resolve(text, { ...callOptions(request), fresh })
}

async function sendContent(
  { reader }: ResolveRoutesOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  content: { hash: string; size?: number; mediaType: string },
): Promise<FastifyReply> {
  const { hash, size, mediaType } = content
  reply.header('etag', `"${hash}"`).header('x-content-type-options', 'nosniff').type(mediaType)
  if (request.headers['if-none-match']?.includes(`"${hash}"`)) return reply.code(304).send()
  if (request.method === 'HEAD' && size !== undefined) {
    return reply.header('content-length', size).header('accept-ranges', 'bytes').send()
  }
  // A range is of the version the caller saw; on another it gets the whole (RFC 9110, If-Range).
  const sameVersion = (request.headers['if-range'] ?? `"${hash}"`) === `"${hash}"`
  const range = sameVersion ? request.headers.range : undefined
  return reader.send(reply, hash, { ...callOptions(request), ...(range && { range }) })
}

async function answerContent(
  options: ResolveRoutesOptions,
  address: ContentAddress,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  requireBlobScope(request, 'blob:read')
  if (address.path !== undefined) {
    throw new InvalidAddressError('Paths inside content are not served; read the content whole.')
  }
  reply.header('bzzz-address', recordName(address)).header('cache-control', IMMUTABLE)
  return sendContent(options, request, reply, {
    hash: address.hash,
    mediaType: 'application/octet-stream',
  })
}

function answerHistory(
  { daemon }: ResolveRoutesOptions,
  address: SemanticAddress,
  { before, limit }: Target['query'],
  request: FastifyRequest,
) {
  return daemon.history(recordName(address), {
    ...callOptions(request),
    ...(before !== undefined && { before }),
    ...(limit !== undefined && { limit }),
  })
}

function callOptions(request: FastifyRequest): CallOptions {
  return { token: request.token ?? '', signal: request.abandoned }
}

/** An address needs one scope to be looked up and another for what it points at. */
function requireBlobScope(request: FastifyRequest, scope: 'blob:read' | 'blob:write'): void {
  if (!request.claims?.scopes.includes(scope)) {
    throw new ScopeMissingError(`The token lacks the scope ${scope}.`)
  }
}
