import { sql } from 'kysely'

import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import type { BzzzDatabase } from '../../shared/db/database.ts'
import { RemoteError } from '../../shared/errors.ts'
import { UNDO_CHUNKS, UNDO_ITEMS } from './constants.ts'
import type { ImportStore } from './import-store.ts'
import type { ThreadRow, ThreadStore } from './thread-store.ts'

/** What an address names whose thread was taken back. Its history still shows what was there. */
export const WITHDRAWN_MEDIA_TYPE = 'application/vnd.bzzz.withdrawn+json'

export interface UndoComponents {
  db: BzzzDatabase
  daemon: Pick<DaemonClient, 'putBlobs' | 'putAddress' | 'resolve' | 'unpin'>
  imports: Pick<ImportStore, 'get' | 'setState'>
  conversations: Pick<ThreadStore, 'ofImport'>
}

/** What one call of an undo did; it is called until nothing is left. */
export interface UndoProgress {
  done: boolean
  entries: number
  threadsRemoved: number
  threadsKept: number
  quarantined: number
}

/**
 * Takes back what one import brought, a part with each call, so that it can be cut off anywhere and
 * begun again. Entries and threads that another import brought as well stay, as do threads in which
 * somebody has written since. Blobs are left to the collection, versions of addresses to history.
 */
export class Undo {
  readonly #components: UndoComponents

  constructor(components: UndoComponents) {
    this.#components = components
  }

  async run(id: string, options: CallOptions): Promise<UndoProgress> {
    const { imports } = this.#components
    const progress = { done: false, entries: 0, threadsRemoved: 0, threadsKept: 0, quarantined: 0 }
    const { state } = await imports.get(id)
    if (state === 'undone') return { ...progress, done: true }
    await imports.setState(id, ['registered', 'running', 'done', 'undoing'], 'undoing')
    const threads = await this.#threads(id, options)
    progress.threadsRemoved = threads.removed
    progress.threadsKept = threads.kept
    if (threads.removed + threads.kept > 0) return progress
    progress.entries = await this.#entries(id)
    if (progress.entries > 0) return progress
    progress.quarantined = await this.#quarantine(id, options)
    if (progress.quarantined > 0) return progress
    await imports.setState(id, ['undoing'], 'undone')
    return { ...progress, done: true }
  }

  async #threads(id: string, options: CallOptions): Promise<{ removed: number; kept: number }> {
    const { db, conversations } = this.#components
    let removed = 0
    let kept = 0
    for (const thread of await conversations.ofImport(id, '', UNDO_ITEMS)) {
      if (await this.#isNeeded(id, thread)) kept++
      else {
        if (thread.isCreated) await this.#withdraw(thread, options)
        removed++
      }
      await db
        .deleteFrom('v1_import_threads')
        .where('import', '=', id)
        .where('thread', '=', thread.key)
        .execute()
    }
    return { removed, kept }
  }

  /** By another import, by somebody who wrote in it, or by a thread that was forked from it. */
  async #isNeeded(id: string, { key, address }: ThreadRow): Promise<boolean> {
    const { rows } = await sql<{ needed: boolean }>`
      select exists (
        select 1 from v1_import_threads where thread = ${key} and import <> ${id}
      ) or exists (
        select 1 from threads join thread_messages on thread_id = threads.id
        where address = ${address}
            and (thread_messages.key is null or thread_messages.key not like 'v1 %')
      ) or exists (
        select 1 from threads fork join threads origin on fork.from_id = origin.id
        where origin.address = ${address}
      ) as needed
    `.execute(this.#components.db)
    return rows[0]?.needed ?? false
  }

  /** The address says so from now on, then the index forgets the thread. */
  async #withdraw({ key, address }: ThreadRow, options: CallOptions): Promise<void> {
    const { db, daemon } = this.#components
    const current = await daemon.resolve(address, { ...options, fresh: true }).catch(missing)
    if (current && current.record.mediaType !== WITHDRAWN_MEDIA_TYPE) {
      const text = Buffer.from(JSON.stringify({ withdrawn: address }))
      const [blob] = await daemon.putBlobs([text], options)
      const write = { hash: blob!.hash, mediaType: WITHDRAWN_MEDIA_TYPE }
      await daemon.putAddress(address, { ...write, ifVersion: current.record.version }, options)
    }
    await db.transaction().execute(async (transaction) => {
      const own = sql`(select id from threads where address = ${address})`
      await sql`delete from thread_messages where thread_id in ${own}`.execute(transaction)
      await sql`delete from thread_versions where thread_id in ${own}`.execute(transaction)
      await sql`delete from threads where address = ${address}`.execute(transaction)
      await transaction
        .updateTable('v1_threads')
        .set({ is_created: false, generation: sql<number>`generation + 1` })
        .where('key', '=', key)
        .where('is_created', '=', true)
        .execute()
    })
  }

  /** By chunk, along the primary key. */
  async #entries(id: string): Promise<number> {
    const { db } = this.#components
    const chunks = await db
      .selectFrom('v1_chunks')
      .selectAll()
      .where('import', '=', id)
      .orderBy('log')
      .orderBy('author')
      .orderBy('genesis')
      .orderBy('chunk')
      .limit(UNDO_CHUNKS)
      .execute()
    for (const { log, author, genesis, chunk, start, entries } of chunks) {
      const end = Number(start) + entries
      await db.transaction().execute(async (transaction) => {
        await transaction
          .deleteFrom('v1_chunks')
          .where('import', '=', id)
          .where('log', '=', log)
          .where('author', '=', author)
          .where('genesis', '=', genesis)
          .where('chunk', '=', chunk)
          .execute()
        await sql`
          update v1_entries set imports = array_remove(imports, ${id})
          where author = ${author} and position >= ${start} and position < ${end}
            and imports @> array[${id}::text]
        `.execute(transaction)
        await sql`
          delete from v1_entries
          where author = ${author} and position >= ${start} and position < ${end}
            and imports = '{}'
        `.execute(transaction)
      })
    }
    return chunks.reduce((sum, { entries }) => sum + entries, 0)
  }

  async #quarantine(id: string, options: CallOptions): Promise<number> {
    const { db, daemon } = this.#components
    const items = await db
      .selectFrom('v1_quarantine')
      .selectAll()
      .where('import', '=', id)
      .limit(UNDO_ITEMS)
      .execute()
    for (const { blob, file, file_offset: offset } of items) {
      const other = await db
        .selectFrom('v1_quarantine')
        .select('import')
        .where('blob', '=', blob)
        .where((where) => where.or([where('import', '<>', id), where('file_offset', '<>', offset)]))
        .executeTakeFirst()
      if (!other) await daemon.unpin(blob, options).catch(missing)
      await db
        .deleteFrom('v1_quarantine')
        .where('import', '=', id)
        .where('file', '=', file)
        .where('file_offset', '=', offset)
        .execute()
    }
    return items.length
  }
}

function missing(error: unknown): null {
  if (error instanceof RemoteError && error.status === 404) return null
  throw error
}
