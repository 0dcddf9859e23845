import { formatAddress } from '../../shared/address/address.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import type { BzzzDatabase } from '../../shared/db/database.ts'
import { ImportStateError, LogBrokenError, RemoteError } from '../../shared/errors.ts'
import { sql } from 'kysely'
import { REPORT_ITEMS_MAX } from './constants.ts'
import type { ImportStore } from './import-store.ts'

export const REPORT_MEDIA_TYPE = 'application/vnd.bzzz.v1-report+json'

export interface ReportStepComponents {
  db: BzzzDatabase
  daemon: Pick<DaemonClient, 'putBlobs' | 'putAddress' | 'resolve'>
  imports: Pick<ImportStore, 'get' | 'progress' | 'setState'>
}

/** One chain as it was imported. */
interface ReportedChain {
  file: string
  author: string
  genesis: string
  entries: number
  head: string
}

/** Where the report of an import is found; its record is signed by the node that wrote it. */
export function reportAddress(id: string): string {
  return formatAddress({
    kind: 'semantic',
    agent: 'v1',
    project: 'v1-reports',
    path: `import/${id}`,
  })
}

/**
 * Ends an import: what was imported, what was verified, what was set aside. The report says nothing
 * of when it was written: the same logs, read back from the same nodes, have the same one.
 */
export class ReportStep {
  readonly #components: ReportStepComponents

  constructor(components: ReportStepComponents) {
    this.#components = components
  }

  /** @throws LogBrokenError where the chunks of a chain do not follow each other */
  async run(id: string, options: CallOptions): Promise<{ address: string; hash: string }> {
    const { imports, daemon } = this.#components
    const address = reportAddress(id)
    const { state, report: known } = await imports.get(id)
    if (state === 'done' && known !== null) return { address, hash: known }
    if (state !== 'running') throw new ImportStateError(`The import is ${state}.`)
    const report = Buffer.from(JSON.stringify(await this.#collect(id)))
    const hash = hashBytes(report)
    await daemon.putBlobs([report], options)
    await this.#name(address, hash, options)
    await imports.setState(id, ['running'], 'done', { report: hash })
    return { address, hash }
  }

  /** The next version of the address, unless it is that already. */
  async #name(address: string, hash: string, options: CallOptions): Promise<void> {
    const { daemon } = this.#components
    const current = await daemon.resolve(address, { ...options, fresh: true }).catch(missing)
    if (current?.record.hash === hash) return
    const ifVersion = current?.record.version ?? 0
    await daemon.putAddress(address, { hash, mediaType: REPORT_MEDIA_TYPE, ifVersion }, options)
  }

  async #collect(id: string): Promise<object> {
    const { db, imports } = this.#components
    const { files } = await imports.get(id)
    const { entries, chunks, threads, quarantined } = await imports.progress(id)
    if (chunks.verified !== chunks.total) throw new ImportStateError('Not all is verified yet.')
    const [chains, set] = await Promise.all([
      this.#chains(id),
      db
        .selectFrom('v1_quarantine')
        .selectAll()
        .where('import', '=', id)
        .orderBy('file')
        .orderBy('file_offset')
        .limit(REPORT_ITEMS_MAX)
        .execute(),
    ])
    return {
      import: id,
      files,
      rule: 'strict',
      proves: 'integrity of each chain, not who wrote it: v1 signs without a key',
      entries: entries.total,
      threads: threads.total,
      verifiedFrom: await this.#verifiedFrom(id),
      chains: chains.slice(0, REPORT_ITEMS_MAX),
      chainsTotal: chains.length,
      quarantined: {
        ...quarantined,
        items: set.map((row) => ({
          file: row.file,
          author: row.author,
          position: Number(row.position),
          offset: Number(row.file_offset),
          records: row.records,
          reason: row.reason,
          blob: row.blob,
        })),
      },
    }
  }

  /** Nodes that every entry was read back from. */
  async #verifiedFrom(id: string): Promise<string[]> {
    const { rows } = await sql<{ node: string }>`
      select distinct unnest(verified_from) as node from v1_chunks where import = ${id} order by 1
    `.execute(this.#components.db)
    return rows.map(({ node }) => node)
  }

  /** Every chunk was verified by itself; here each must begin where the one before it ends. */
  async #chains(id: string): Promise<ReportedChain[]> {
    const broken = await sql<{ author: string; chunk: number }>`
      select author, chunk from (
        select author, chunk, start, previous,
          lag(head) over chain as expected, lag(start + entries) over chain as begins
        from v1_chunks where import = ${id}
        window chain as (partition by log, author, genesis order by chunk)
      ) chunks
      where previous <> coalesce(expected, '') or start <> coalesce(begins, 0)
      limit 1
    `.execute(this.#components.db)
    const [first] = broken.rows
    if (first) {
      throw new LogBrokenError(`Chunk ${first.chunk} of ${first.author} follows no other.`)
    }
    const { rows } = await sql<{
      file: string
      author: string
      genesis: string
      entries: string
      head: string
    }>`
      select files[log + 1] as file, author, genesis, sum(entries) as entries,
        (array_agg(head order by chunk desc))[1] as head
      from v1_chunks join v1_imports on v1_imports.id = import
      where import = ${id}
      group by files, log, author, genesis order by log, author, genesis
    `.execute(this.#components.db)
    return rows.map((row) => ({ ...row, entries: Number(row.entries) }))
  }
}

function missing(error: unknown): null {
  if (error instanceof RemoteError && error.status === 404) return null
  throw error
}
