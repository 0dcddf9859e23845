import { sql } from 'kysely'

import type { BzzzDatabase } from '../../shared/db/database.ts'
import type { V1ImportState } from '../../shared/db/schema.ts'
import { ImportNotFoundError, ImportStateError } from '../../shared/errors.ts'
import type { ImportChunk, ImportQuarantine } from '../../shared/v1/import-parts.ts'
import { CHUNKS_LISTED_MAX, IMPORTS_LISTED_MAX } from './constants.ts'

export interface ImportRow {
  id: string
  state: V1ImportState
  files: string[]
  hosts: Record<string, string>
  createdBy: string
  createdAt: Date
  finishedAt: Date | null
  job: string | null
  report: string | null
}

/** Names a chunk. */
export interface ChunkName extends Pick<ImportChunk, 'log' | 'author' | 'genesis' | 'chunk'> {
  import: string
}

/** How far an import is. */
export interface ImportProgress {
  chunks: { total: number; done: number; verified: number }
  entries: { total: number; done: number; verified: number }
  threads: { total: number; done: number }
  quarantined: { records: number; segments: number }
}

const BEGUN_ANEW = { created_at: sql<Date>`now()`, finished_at: null, job: null, report: null }

/** Imports and their checkpoints in Postgres. */
export class ImportStore {
  readonly #db: BzzzDatabase

  constructor({ db }: { db: BzzzDatabase }) {
    this.#db = db
  }

  /** The same logs are the same import; one that was undone begins anew. */
  async register(row: {
    id: string
    files: readonly string[]
    hosts: Record<string, string>
    createdBy: string
  }): Promise<ImportRow> {
    const { id, createdBy } = row
    const values = { files: [...row.files], hosts: JSON.stringify(row.hosts) }
    await this.#db
      .insertInto('v1_imports')
      .values({ id, state: 'registered', ...values, created_by: createdBy })
      .onConflict((conflict) =>
        conflict
          .column('id')
          .doUpdateSet({ state: 'registered', ...values, ...BEGUN_ANEW, created_by: createdBy })
          .where('v1_imports.state', '=', 'undone'),
      )
      .execute()
    return this.get(id)
  }

  /** @throws ImportNotFoundError */
  async get(id: string): Promise<ImportRow> {
    const row = await this.#db
      .selectFrom('v1_imports')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst()
    if (!row) throw new ImportNotFoundError(`There is no import ${id.slice(0, 64)}.`)
    return toImport(row)
  }

  async list(): Promise<ImportRow[]> {
    const rows = await this.#db
      .selectFrom('v1_imports')
      .selectAll()
      .orderBy('created_at', 'desc')
      .orderBy('id')
      .limit(IMPORTS_LISTED_MAX)
      .execute()
    return rows.map(toImport)
  }

  async addChunks(id: string, chunks: readonly ImportChunk[]): Promise<void> {
    if (chunks.length === 0) return
    await this.#db
      .insertInto('v1_chunks')
      .values(chunks.map((chunk) => ({ import: id, ...chunk })))
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }

  async addQuarantine(id: string, items: readonly ImportQuarantine[]): Promise<void> {
    if (items.length === 0) return
    await this.#db
      .insertInto('v1_quarantine')
      .values(
        items.map(({ offset, sizeBytes, ...rest }) => ({
          import: id,
          ...rest,
          file_offset: offset,
          size_bytes: sizeBytes,
        })),
      )
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }

  /** Only from one of these states. @throws ImportStateError */
  async setState(
    id: string,
    from: readonly V1ImportState[],
    state: V1ImportState,
    more: { report?: string } = {},
  ): Promise<void> {
    const finished = state === 'done' || state === 'undone' ? new Date() : null
    const { numUpdatedRows } = await this.#db
      .updateTable('v1_imports')
      .set({ state, finished_at: finished, ...more })
      .where('id', '=', id)
      .where('state', 'in', from)
      .executeTakeFirst()
    if (numUpdatedRows > 0n) return
    const { state: now } = await this.get(id)
    throw new ImportStateError(`The import is ${now}, so it cannot become ${state}.`)
  }

  /** The number of the next flow. */
  async nextFlow(id: string): Promise<number> {
    const { flows } = await this.#db
      .updateTable('v1_imports')
      .set({ flows: sql<number>`flows + 1` })
      .where('id', '=', id)
      .returning('flows')
      .executeTakeFirstOrThrow()
    return flows
  }

  async setJob(id: string, job: string): Promise<void> {
    await this.#db.updateTable('v1_imports').set({ job }).where('id', '=', id).execute()
  }

  /** Chunks that are to be imported, or to be verified, in their order. */
  pendingChunks(
    id: string,
    column: 'done_at' | 'verified_at',
    limit: number,
  ): Promise<Omit<ChunkName, 'import'>[]> {
    return this.#db
      .selectFrom('v1_chunks')
      .select(['log', 'author', 'genesis', 'chunk'])
      .where('import', '=', id)
      .where(column, 'is', null)
      .orderBy('log')
      .orderBy('author')
      .orderBy('genesis')
      .orderBy('chunk')
      .limit(limit)
      .execute()
  }

  /** In the order of their chains, a page at a time; `next` is null on the last one. */
  async chunks(id: string, after: number) {
    const rows = await this.#db
      .selectFrom('v1_chunks')
      .select(['log', 'author', 'genesis', 'chunk', 'start', 'entries', 'previous', 'head', 'blob'])
      .where('import', '=', id)
      .orderBy('log')
      .orderBy('author')
      .orderBy('genesis')
      .orderBy('chunk')
      .offset(after)
      .limit(CHUNKS_LISTED_MAX)
      .execute()
    const next = rows.length === CHUNKS_LISTED_MAX ? after + rows.length : null
    return { chunks: rows.map((row) => ({ ...row, start: Number(row.start) })), next }
  }

  async chunk(name: ChunkName) {
    const row = await this.#db
      .selectFrom('v1_chunks')
      .selectAll()
      .where('import', '=', name.import)
      .where('log', '=', name.log)
      .where('author', '=', name.author)
      .where('genesis', '=', name.genesis)
      .where('chunk', '=', name.chunk)
      .executeTakeFirst()
    if (!row) throw new ImportNotFoundError('There is no such chunk.')
    return { ...row, start: Number(row.start) }
  }

  async setVerified(name: ChunkName, servedBy: readonly string[]): Promise<void> {
    await this.#db
      .updateTable('v1_chunks')
      .set({ verified_at: new Date(), verified_from: [...servedBy] })
      .where('import', '=', name.import)
      .where('log', '=', name.log)
      .where('author', '=', name.author)
      .where('genesis', '=', name.genesis)
      .where('chunk', '=', name.chunk)
      .execute()
  }

  async progress(id: string): Promise<ImportProgress> {
    const count = (column: 'done_at' | 'verified_at') =>
      sql<string>`count(*) filter (where ${sql.ref(column)} is not null)`
    const sum = (column: 'done_at' | 'verified_at') =>
      sql<string>`coalesce(sum(entries) filter (where ${sql.ref(column)} is not null), 0)`
    const [chunks, threads, quarantine] = await Promise.all([
      this.#db
        .selectFrom('v1_chunks')
        .select([
          sql<string>`count(*)`.as('total'),
          count('done_at').as('done'),
          count('verified_at').as('verified'),
          sql<string>`coalesce(sum(entries), 0)`.as('entries'),
          sum('done_at').as('entries_done'),
          sum('verified_at').as('entries_verified'),
        ])
        .where('import', '=', id)
        .executeTakeFirstOrThrow(),
      this.#db
        .selectFrom('v1_import_threads')
        .select([sql<string>`count(*)`.as('total'), count('done_at').as('done')])
        .where('import', '=', id)
        .executeTakeFirstOrThrow(),
      this.#db
        .selectFrom('v1_quarantine')
        .select([
          sql<string>`count(*)`.as('segments'),
          sql<string>`coalesce(sum(records), 0)`.as('records'),
        ])
        .where('import', '=', id)
        .executeTakeFirstOrThrow(),
    ])
    return {
      chunks: {
        total: Number(chunks.total),
        done: Number(chunks.done),
        verified: Number(chunks.verified),
      },
      entries: {
        total: Number(chunks.entries),
        done: Number(chunks.entries_done),
        verified: Number(chunks.entries_verified),
      },
      threads: { total: Number(threads.total), done: Number(threads.done) },
      quarantined: { records: Number(quarantine.records), segments: Number(quarantine.segments) },
    }
  }
}

function toImport(row: {
  id: string
  state: V1ImportState
  files: string[]
  hosts: Record<string, string>
  created_by: string
  created_at: Date
  finished_at: Date | null
  job: string | null
  report: string | null
}): ImportRow {
  const { created_by: createdBy, created_at: createdAt, finished_at: finishedAt, ...rest } = row
  const { id, state, files, hosts, job, report } = rest
  return { id, state, files, hosts, createdBy, createdAt, finishedAt, job, report }
}
