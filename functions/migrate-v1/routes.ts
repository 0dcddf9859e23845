import type { FastifyInstance, FastifyRequest } from 'fastify'

import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { ImportStateError, QueueUnavailableError } from '../../shared/errors.ts'
import { parseWith } from '../../shared/http/parse.ts'
import type { Job } from '../../shared/queue/job.ts'
import type { JobQueue } from '../../shared/queue/job-queue.ts'
import type { ChunkStep } from './chunk-step.ts'
import type { EntryStore } from './entry-store.ts'
import type { Flow } from './flow.ts'
import type { ImportRow, ImportStore } from './import-store.ts'
import { reportAddress, type ReportStep } from './report-step.ts'
import * as schemas from './schemas.ts'
import type { ThreadStep } from './thread-step.ts'
import type { Undo } from './undo.ts'
import type { VerifyStep } from './verify-step.ts'

/** All that an import needs; there is none without a database. */
export interface Importer {
  daemon: Pick<DaemonClient, 'pin'>
  queue: Pick<JobQueue, 'get'>
  imports: ImportStore
  entries: EntryStore
  flow: Flow
  undo: Undo
  steps: { chunk: ChunkStep; threads: ThreadStep; verify: VerifyStep; report: ReportStep }
}

export interface MigrateRoutesOptions {
  /** @throws DatabaseUnavailableError */
  importer: () => Importer
}

interface IdParams {
  Params: { id: string }
}

/** A step may take as long as the disks of the cluster do. */
const ROUTE = { config: { scope: 'node:manage' as const, execTimeoutMs: 0 } }

/** What `bzzz migrate v1` asks for: `/imports`, and what the jobs of an import do: `/steps`. */
export async function migrateRoutes(
  app: FastifyInstance,
  options: MigrateRoutesOptions,
): Promise<void> {
  await app.register(importRoutes, options)
  await app.register(stepRoutes, options)
}

async function importRoutes(
  app: FastifyInstance,
  { importer }: MigrateRoutesOptions,
): Promise<void> {
  app.get('/imports', ROUTE, async () => {
    const all = importer()
    const rows = await all.imports.list()
    return { imports: await Promise.all(rows.map((row) => describe(all, row))) }
  })
  app.post('/imports', ROUTE, async (request) => {
    const given = parseWith(schemas.importSchema, request.body)
    const createdBy = request.claims?.subject ?? ''
    const all = importer()
    return describe(all, await all.imports.register({ ...given, createdBy }))
  })
  app.get<IdParams>('/imports/:id', ROUTE, async (request) => {
    const all = importer()
    return describe(all, await all.imports.get(request.params.id))
  })
  app.post<IdParams>('/imports/:id/chunks', ROUTE, async (request) => {
    const { imports } = importer()
    const { id } = await imports.get(request.params.id)
    const { chunks } = parseWith(schemas.chunksSchema, request.body)
    await imports.addChunks(id, chunks)
    return { chunks: chunks.length }
  })
  app.post<IdParams>('/imports/:id/quarantine', ROUTE, async (request) => {
    const { imports, daemon } = importer()
    const { id } = await imports.get(request.params.id)
    const { items } = parseWith(schemas.quarantineSchema, request.body)
    for (const { blob } of items) await daemon.pin(blob, `v1 import ${id}`, callOptions(request))
    await imports.addQuarantine(id, items)
    return { items: items.length }
  })
  app.post<IdParams>('/imports/:id/start', ROUTE, async (request, reply) => {
    const all = importer()
    const { id, state } = await all.imports.get(request.params.id)
    if (state === 'undoing') throw new ImportStateError('The import is being undone.')
    if (state !== 'done') {
      await all.imports.setState(id, ['registered', 'running'], 'running')
      await advance(all, id, request)
    }
    reply.code(202)
    return describe(all, await all.imports.get(id))
  })
  app.post<IdParams>('/imports/:id/undo', ROUTE, async (request) =>
    importer().undo.run(request.params.id, callOptions(request)),
  )
  app.get<IdParams>('/imports/:id/chunks', ROUTE, async (request) => {
    const { after } = parseWith(schemas.chunksQuery, request.query)
    return importer().imports.chunks(request.params.id, after)
  })
  app.get<IdParams>('/imports/:id/entries', ROUTE, async (request) => {
    const name = parseWith(schemas.entriesQuery, request.query)
    const { imports, entries } = importer()
    const chunk = await imports.chunk({ import: request.params.id, ...name })
    const rows = await entries.ofChain(chunk.author, chunk.start, chunk.entries)
    return { entries: rows.map(({ position, hash, blob }) => ({ position, hash, blob })) }
  })
}

/** Each may run again at any time: what is done already is left as it is. */
async function stepRoutes(app: FastifyInstance, { importer }: MigrateRoutesOptions): Promise<void> {
  const running = async (id: string) => {
    const all = importer()
    const { state } = await all.imports.get(id)
    if (state !== 'running') throw new ImportStateError(`The import is ${state}.`)
    return all.steps
  }
  app.post('/steps/next', ROUTE, async (request) => {
    const { import: id } = parseWith(schemas.nextStepSchema, request.body)
    const all = importer()
    const { state } = await all.imports.get(id)
    if (state === 'running') await advance(all, id, request)
    return { import: id }
  })
  app.post('/steps/chunk', ROUTE, async (request) => {
    const name = parseWith(schemas.chunkStepSchema, request.body)
    const steps = await running(name.import)
    return steps.chunk.run(name, callOptions(request))
  })
  app.post('/steps/threads', ROUTE, async (request) => {
    const { import: id, threads } = parseWith(schemas.threadStepSchema, request.body)
    const steps = await running(id)
    await steps.threads.run(id, threads, callOptions(request))
    return { threads: threads.length }
  })
  app.post('/steps/verify', ROUTE, async (request) => {
    const name = parseWith(schemas.chunkStepSchema, request.body)
    const steps = await running(name.import)
    return steps.verify.run(name, callOptions(request))
  })
}

async function describe({ imports, queue }: Importer, row: ImportRow) {
  const [progress, job] = await Promise.all([
    imports.progress(row.id),
    row.job !== null && row.state === 'running' ? findJob(queue, row.job) : null,
  ])
  return {
    ...row,
    ...progress,
    reportAddress: row.report === null ? null : reportAddress(row.id),
    problem: job?.state === 'failed' ? job.reason : null,
  }
}

/** The next flow, or the end. */
async function advance(
  { flow, steps }: Pick<Importer, 'flow' | 'steps'>,
  id: string,
  request: FastifyRequest,
): Promise<void> {
  const submitter = { owner: request.claims?.subject ?? '', token: request.token ?? '' }
  if (!(await flow.submitNext(id, submitter))) await steps.report.run(id, callOptions(request))
}

/** A status without its queue is better than none. */
async function findJob(queue: Pick<JobQueue, 'get'>, id: string): Promise<Job | null> {
  return queue.get(id).catch((error: unknown) => {
    if (error instanceof QueueUnavailableError) return null
    if (error instanceof Error && 'code' in error && error.code === 'BZZZ_JOB_NOT_FOUND')
      return null
    throw error
  })
}

function callOptions(request: FastifyRequest): CallOptions & { signal: AbortSignal } {
  return { token: request.token ?? '', signal: request.abandoned }
}
