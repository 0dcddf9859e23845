import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { parseAddress, recordName } from '../../shared/address/address.ts'
import { projectMatches } from '../../shared/address/project-pattern.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import { InvalidAddressError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { ADDRESS_CHARS_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { toRecordJSON, type AddressRecord } from '../../shared/record/record.ts'
import type { Page, RecordSearch } from '../records/record-search.ts'
import type { RecordService } from '../records/record-service.ts'

export interface SearchRoutesOptions {
  search: RecordSearch
  records: Pick<RecordService, 'merge'>
  selfId: string
}

const address = z.string().min(1).max(ADDRESS_CHARS_MAX)

const pageQuery = z.object({
  after: z.string().max(ADDRESS_CHARS_MAX).default(''),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
})
const searchQuery = pageQuery.extend({ pattern: address })
const conflictQuery = pageQuery.extend({ pattern: address.default('bzzz://*:*@*:*/') })

const mergeBody = z.strictObject({
  /** The version of an end, or the beginning of its hash or its content's. */
  pick: z.string().min(1).max(64),
  ifVersion: z.int().min(1).optional(),
})

/** `GET /v1/search`, `GET /v1/conflicts`, `POST /v1/merges`. Answered without any database. */
export async function searchRoutes(
  app: FastifyInstance,
  { search, records, selfId }: SearchRoutesOptions,
): Promise<void> {
  const read = { config: { scope: 'address:read' as const } }

  app.get('/v1/search', read, async (request, reply) => {
    const query = { ...parseWith(searchQuery, request.query), projects: projectsOf(request) }
    const page = await search.find(query, abandonedSignal(reply))
    reply.header('bzzz-served-by', selfId)
    const visible = page.items.filter((record) => isCovered(request, record))
    return { records: visible.map(toRecordJSON), ...restOf(page) }
  })

  app.get('/v1/conflicts', read, async (request, reply) => {
    const query = { ...parseWith(conflictQuery, request.query), projects: projectsOf(request) }
    const page = await search.conflicts(query, abandonedSignal(reply))
    reply.header('bzzz-served-by', selfId)
    const visible = page.items.filter(({ ends }) => ends.every((end) => isCovered(request, end)))
    const conflicts = visible.map(({ ends }) => ({
      address: ends[0]!.address,
      ends: ends.map(toRecordJSON),
    }))
    return { conflicts, ...restOf(page) }
  })

  app.post('/v1/merges', { config: { scope: 'address:write' } }, async (request, reply) => {
    const target = parseAddress(parseWith(z.object({ address }), request.query).address)
    if (target.kind !== 'semantic') throw new InvalidAddressError('Content has no versions.')
    requireProject(request, target.project)
    const { pick, ifVersion } = parseWith(mergeBody, request.body)
    const condition = ifVersion === undefined ? {} : { ifVersion }
    const signal = abandonedSignal(reply)
    const { record, holders } = await records.merge(recordName(target), pick, condition, signal)
    reply.code(201).header('bzzz-served-by', selfId)
    return { record: toRecordJSON(record), holders }
  })
}

function projectsOf(request: FastifyRequest): readonly string[] {
  return request.claims?.projects ?? []
}

/** The search keeps to the projects already; what other nodes answer is looked at once more. */
function isCovered(request: FastifyRequest, { address: name }: AddressRecord): boolean {
  const parsed = parseAddress(name)
  if (parsed.kind !== 'semantic') return false
  return projectsOf(request).some((pattern) => projectMatches(pattern, parsed.project))
}

function restOf({ next, partial }: Page<unknown>): { next: string | null; partial: boolean } {
  return { next, partial }
}
