import { sql, type Transaction } from 'kysely'

import type { BzzzDatabase } from '../../shared/db/database.ts'
import type { Schema } from '../../shared/db/schema.ts'
import { ImportStateError } from '../../shared/errors.ts'
import type { Conversation } from '../../shared/v1/conversation.ts'
import type { ChunkName } from './import-store.ts'

/** A row of the index for one entry. */
export interface IndexedEntry {
  author: string
  position: number
  hash: string
  blob: string
  sizeBytes: number
  type: string
  writtenAt: string
  orderedAt: number
  thread: string
  messageId: string | null
  parentId: string | null
}

/** Where the bytes of an entry are. */
export type StoredPlace = Pick<IndexedEntry, 'position' | 'hash' | 'blob' | 'sizeBytes'>

/** Where the next page of a thread's entries begins. */
export interface ThreadCursor {
  orderedAt: number
  author: string
  position: number
  hash: string
}

/** The index over imported entries. */
export class EntryStore {
  readonly #db: BzzzDatabase

  constructor({ db }: { db: BzzzDatabase }) {
    this.#db = db
  }

  /**
   * Adds the entries of a chunk with their conversations, and notes in the same transaction that
   * the chunk is done. What is there already stays, and is noted to be of this import as well.
   */
  async addChunk(
    name: ChunkName,
    entries: readonly IndexedEntry[],
    conversations: readonly Conversation[],
  ): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      // First: an undo removes this row first, too, so one of both waits for the other.
      const { numUpdatedRows } = await transaction
        .updateTable('v1_chunks')
        .set({ done_at: new Date() })
        .where('import', '=', name.import)
        .where('log', '=', name.log)
        .where('author', '=', name.author)
        .where('genesis', '=', name.genesis)
        .where('chunk', '=', name.chunk)
        .executeTakeFirst()
      if (numUpdatedRows === 0n) throw new ImportStateError('The import is being undone.')
      // In one order everywhere, so that imports that overlap wait and never lock each other out.
      const sorted = conversations.toSorted((a, b) => (a.key < b.key ? -1 : 1))
      await addConversations(transaction, name.import, sorted)
      await addEntries(transaction, name.import, entries)
    })
  }

  /** Entries of a thread in the order in which they become messages. */
  async ofThread(
    thread: string,
    after: ThreadCursor | null,
    limit: number,
  ): Promise<IndexedEntry[]> {
    let query = this.#db.selectFrom('v1_entries').selectAll().where('thread', '=', thread)
    if (after) {
      const { orderedAt, author, position, hash } = after
      query = query.where(
        sql<boolean>`(ordered_at, author, position, hash) > (${orderedAt}::bigint, ${author}, ${position}::bigint, ${hash})`,
      )
    }
    const rows = await query
      .orderBy('ordered_at')
      .orderBy('author')
      .orderBy('position')
      .orderBy('hash')
      .limit(limit)
      .execute()
    return rows.map(toEntry)
  }

  /** Blobs of messages that are answered in a thread, by their id. */
  async blobsOfMessages(ids: readonly string[]): Promise<Map<string, string>> {
    if (ids.length === 0) return new Map()
    const rows = await this.#db
      .selectFrom('v1_entries')
      .select(['message_id', sql<string>`min(blob)`.as('blob')])
      .where('message_id', 'in', ids)
      .groupBy('message_id')
      .execute()
    return new Map(rows.map(({ message_id: id, blob }) => [id!, blob]))
  }

  /** Entries of an author between two positions, all forks. */
  async ofChain(author: string, from: number, count: number): Promise<StoredPlace[]> {
    const rows = await this.#db
      .selectFrom('v1_entries')
      .select(['position', 'hash', 'blob', 'size_bytes'])
      .where('author', '=', author)
      .where('position', '>=', String(from))
      .where('position', '<', String(from + count))
      .orderBy('position')
      .orderBy('hash')
      .execute()
    return rows.map(({ position, hash, blob, size_bytes: sizeBytes }) => {
      return { position: Number(position), hash, blob, sizeBytes }
    })
  }
}

/** One statement with one array for each column: a chunk may speak of a thousand conversations. */
async function addConversations(
  transaction: Transaction<Schema>,
  id: string,
  conversations: readonly Conversation[],
): Promise<void> {
  const column = <K extends keyof Conversation>(key: K) => conversations.map((one) => one[key])
  const keys = column('key')
  await sql`
    insert into v1_threads (key, project, task, path, title, topic)
    select * from unnest(
      ${keys}::text[], ${column('project')}::text[], ${column('task')}::text[],
      ${column('path')}::text[], ${column('title')}::text[], ${column('topic')}::text[])
    on conflict do nothing
  `.execute(transaction)
  await sql`
    insert into v1_import_threads (import, thread) select ${id}, unnest(${keys}::text[])
    on conflict do nothing
  `.execute(transaction)
}

/** The same: a thousand rows have too many parameters. */
async function addEntries(
  transaction: Transaction<Schema>,
  id: string,
  entries: readonly IndexedEntry[],
): Promise<void> {
  const column = <K extends keyof IndexedEntry>(key: K) => entries.map((entry) => entry[key])
  await sql`
    insert into v1_entries (author, position, hash, blob, size_bytes, type, written_at, ordered_at,
      thread, message_id, parent_id, imports)
    select *, array[${id}::text] from unnest(
      ${column('author')}::text[], ${column('position')}::bigint[], ${column('hash')}::text[],
      ${column('blob')}::text[], ${column('sizeBytes')}::int[], ${column('type')}::text[],
      ${column('writtenAt')}::text[], ${column('orderedAt')}::bigint[], ${column('thread')}::text[],
      ${column('messageId')}::text[], ${column('parentId')}::text[])
    on conflict (author, position, hash) do update
      set imports = v1_entries.imports || excluded.imports
      where not v1_entries.imports @> excluded.imports
  `.execute(transaction)
}

function toEntry(row: {
  author: string
  position: string
  hash: string
  blob: string
  size_bytes: number
  type: string
  written_at: string
  ordered_at: string
  thread: string
  message_id: string | null
  parent_id: string | null
}): IndexedEntry {
  return {
    author: row.author,
    position: Number(row.position),
    hash: row.hash,
    blob: row.blob,
    sizeBytes: row.size_bytes,
    type: row.type,
    writtenAt: row.written_at,
    orderedAt: Number(row.ordered_at),
    thread: row.thread,
    messageId: row.message_id,
    parentId: row.parent_id,
  }
}
