import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { parseAddress, recordName, type SemanticAddress } from '../../shared/address/address.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import { isHash } from '../../shared/blob/hash.ts'
import {
  BlobNotFoundError,
  InvalidAddressError,
  InvalidRequestError,
  VersionConflictError,
} from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import {
  ADDRESS_CHARS_MAX,
  MEDIA_TYPE_CHARS_MAX,
  PAGE_SIZE_DEFAULT,
  PAGE_SIZE_MAX,
} from '../../shared/limits.ts'
import { toRecordJSON, type AddressRecord } from '../../shared/record/record.ts'
import { CLOCK_STEP_MS_MAX } from '../clock.ts'
import type { Quotas } from '../lifetime/quotas.ts'
import { OWNERSHIP_NAME } from '../ownership/constants.ts'
import type { Retention } from '../lifetime/retention.ts'
import type { RecordLookup, Resolved } from '../records/record-lookup.ts'
import type { Content, RecordService, WriteResult } from '../records/record-service.ts'

export interface AddressRoutesOptions {
  records: RecordService
  lookup: RecordLookup
  retention: Pick<Retention, 'retain'>
  quotas: Pick<Quotas, 'admit'>
  selfId: string
  /** Seconds by source; see docs/METRICS. */
  onResolve?: (seconds: number, source: Resolved['source'] | 'error') => void
}

interface Admitted {
  quotas: Pick<Quotas, 'admit'>
  project: string
  content: Content
  signal: AbortSignal
}

const addressQuery = z.object({ address: z.string().min(1).max(ADDRESS_CHARS_MAX) })

const historyQuery = addressQuery.extend({
  before: z.coerce.number().int().min(1).default(Number.MAX_SAFE_INTEGER),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
})

const writeBody = z.strictObject({
  hash: z.string().refine(isHash, 'not a BLAKE3 hash'),
  mediaType: z.string().min(1).max(MEDIA_TYPE_CHARS_MAX),
  ifHash: z.string().refine(isHash, 'not a BLAKE3 hash').optional(),
  ifVersion: z.int().min(0).optional(),
})

/** `PUT /v1/addresses`, `GET /v1/addresses` (history), `GET /v1/resolve`. */
export async function addressRoutes(
  app: FastifyInstance,
  options: AddressRoutesOptions,
): Promise<void> {
  const { records, lookup, retention, quotas, selfId, onResolve } = options

  app.put('/v1/addresses', { config: { scope: 'address:write' } }, async (request, reply) => {
    const address = writableAddress(request)
    const { hash, mediaType, ifHash, ifVersion } = parseWith(writeBody, request.body)
    const signal = abandonedSignal(reply)
    // Not only looked for: from here on it is not collected before the record is there.
    const stat = await retention.retain(hash, signal)
    if (!stat) throw new BlobNotFoundError(`Store ${hash} before an address names it.`)
    const content = { hash, sizeBytes: stat.sizeBytes, mediaType }
    const condition = {
      ...(ifHash !== undefined && { ifHash }),
      ...(ifVersion !== undefined && { ifVersion }),
    }
    const written = await writeAdmitted({ quotas, project: address.project, content, signal }, () =>
      records.write(recordName(address), content, condition, signal),
    )
    return answerWritten(reply, written, selfId)
  })

  app.get('/v1/addresses', { config: { scope: 'address:read' } }, async (request, reply) => {
    const name = recordName(semanticAddress(request))
    const { before, limit } = parseWith(historyQuery, request.query)
    const page = await lookup.history(name, { before, limit }, abandonedSignal(reply))
    reply.header('bzzz-served-by', selfId)
    const oldest = page.at(-1)
    const next = oldest && oldest.version > 1 ? oldest.version : null
    return { records: page.map(toRecordJSON), next }
  })

  app.get('/v1/resolve', { config: { scope: 'address:read' } }, async (request, reply) => {
    const address = semanticAddress(request)
    const startedAt = performance.now()
    const seconds = (): number => (performance.now() - startedAt) / 1000
    try {
      const fresh = request.headers['cache-control']?.includes('no-cache') ?? false
      const found = await find(lookup, address, fresh, abandonedSignal(reply))
      onResolve?.(seconds(), found.source)
      reply.header('bzzz-served-by', selfId)
      markFuture(reply, found.record)
      return { record: toRecordJSON(found.record), forks: found.forks }
    } catch (error) {
      onResolve?.(seconds(), 'error')
      throw error
    }
  })
}

/** Writes a record for which its project has room. */
export async function writeAdmitted(
  { quotas, project, content, signal }: Admitted,
  write: () => Promise<WriteResult>,
): Promise<WriteResult> {
  const admission = await quotas.admit({ project, ...content }, signal)
  return write().catch(async (error: unknown) => {
    // Other failures leave it open whether the record came to be.
    if (error instanceof VersionConflictError) await admission.release()
    throw error
  })
}

export function answerWritten(reply: FastifyReply, written: WriteResult, selfId: string) {
  reply.code(written.created ? 201 : 200).header('bzzz-served-by', selfId)
  markFuture(reply, written.record)
  return { record: toRecordJSON(written.record), holders: written.holders }
}

/** The address of a write. @throws InvalidRequestError for the policy, which has its own way */
export function writableAddress(request: FastifyRequest): SemanticAddress {
  const address = semanticAddress(request)
  if (recordName(address) !== OWNERSHIP_NAME) return address
  throw new InvalidRequestError('The policy is written with `bzzz policy set`.')
}

/** A record that is dated later than it can be says so: its author's clock is ahead. */
function markFuture(reply: FastifyReply, { timestampMs }: AddressRecord): void {
  const aheadMs = timestampMs - Date.now()
  if (aheadMs > CLOCK_STEP_MS_MAX) reply.header('bzzz-clock-ahead', Math.ceil(aheadMs / 1000))
}

function semanticAddress(request: FastifyRequest): SemanticAddress {
  const address = parseAddress(parseWith(addressQuery, request.query).address)
  if (address.kind !== 'semantic') {
    throw new InvalidAddressError('A content address has no record; read it as a blob.')
  }
  requireProject(request, address.project)
  return address
}

async function find(
  lookup: RecordLookup,
  address: SemanticAddress,
  fresh: boolean,
  signal: AbortSignal,
): Promise<Resolved> {
  const name = recordName(address)
  if (address.version !== undefined) {
    const record = await lookup.version(name, address.version, signal)
    return { record, forks: 0, source: 'local' }
  }
  if (address.at !== undefined) {
    const record = await lookup.at(name, new Date(address.at).getTime(), signal)
    return { record, forks: 0, source: 'local' }
  }
  return lookup.head(name, { fresh, signal })
}
