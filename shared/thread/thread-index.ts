import { sql, type Selectable } from 'kysely'

import { parseAddress } from '../address/address.ts'
import type { BzzzDatabase } from '../db/database.ts'
import type { ThreadTable } from '../db/schema.ts'
import { NotAThreadError } from '../errors.ts'
import { frontierAfter, type Frontier } from './dag.ts'
import { reached } from '../db/database-answer.ts'
import type { ForkPoint, ThreadHead } from './head.ts'
import type { ThreadMessage } from './message.ts'

/** What the index knows of a thread. */
export interface IndexedThread {
  id: string
  address: string
  title: string | null
  createdBy: string
  createdAt: string
  updatedAt: string
  key: string | null
  /** Newest version of the head in the index, and the hash of its record. */
  version: number
  record: string
  frontier: Frontier
  messages: number
  from: ForkPoint | null
  fromId: string | null
}

/** A version of a head with what it added, read from the blobs. */
export interface ThreadVersion {
  record: string
  version: number
  timestamp: string
  head: ThreadHead
  messages: readonly IndexedMessage[]
}

export interface IndexedMessage {
  hash: string
  message: ThreadMessage
  /** Canonical JSON. */
  body: string
  /** What of it is searched. */
  searched: string
}

/** A message that came with this key before. */
export interface KnownKey {
  key: string
  hash: string
  seq: number
  message: ThreadMessage
}

/** The index over threads in Postgres, as it is written. Every write may be done twice. */
export class ThreadIndex {
  readonly #db: BzzzDatabase

  constructor(components: { db: BzzzDatabase }) {
    this.#db = components.db
  }

  /** Whether the tables are there and answer. */
  async isReady(): Promise<boolean> {
    await this.#db.selectFrom('threads').select('id').limit(1).execute()
    return true
  }

  /** Undefined for a thread that is not in the index; it may exist all the same. */
  async find(address: string): Promise<IndexedThread | undefined> {
    const row = await reached(() =>
      select(this.#db).where('t.address', '=', address).executeTakeFirst(),
    )
    return row && Number(row.version) > 0 ? toThread(row) : undefined
  }

  async has(address: string, { hash, seq }: { hash: string; seq: number }): Promise<boolean> {
    const row = await reached(() =>
      this.#db
        .selectFrom('thread_messages as m')
        .innerJoin('threads as t', 't.id', 'm.thread_id')
        .select('m.hash')
        .where('t.address', '=', address)
        .where('m.seq', '=', String(seq))
        .where('m.hash', '=', hash)
        .executeTakeFirst(),
    )
    return row !== undefined
  }

  /** Those of the records whose messages are in the index. */
  async knownVersions(records: readonly string[]): Promise<Set<string>> {
    if (records.length === 0) return new Set()
    const rows = await reached(() =>
      this.#db
        .selectFrom('thread_versions')
        .select('record')
        .where('record', '=', sql<string>`any(${[...records]})`)
        .execute(),
    )
    return new Set(rows.map(({ record }) => record))
  }

  async findKeys(address: string, keys: readonly string[]): Promise<KnownKey[]> {
    if (keys.length === 0) return []
    const rows = await reached(() =>
      this.#db
        .selectFrom('thread_messages as m')
        .innerJoin('threads as t', 't.id', 'm.thread_id')
        .select(['m.key', 'm.hash', 'm.seq', 'm.body'])
        .where('t.address', '=', address)
        .where('m.key', '=', sql<string>`any(${[...keys]})`)
        .orderBy('m.seq', 'desc')
        .orderBy('m.hash', 'desc')
        .execute(),
    )
    return rows.map(({ key, hash, seq, body }) => ({
      key: key!,
      hash,
      seq: Number(seq),
      message: JSON.parse(body) as ThreadMessage,
    }))
  }

  /**
   * Takes versions in, the oldest first; those that are there already change nothing. Whoever
   * writes to one thread waits for the other here.
   * @returns undefined where the index lacks the version that these follow, `after`
   */
  apply(
    address: string,
    versions: readonly ThreadVersion[],
    { after }: { after?: string } = {},
  ): Promise<IndexedThread | undefined> {
    return reached(() =>
      this.#db.transaction().execute(async (transaction) => {
        const before = await lock(transaction, address)
        const records = versions.map(({ record }) => record)
        const asked = after === undefined ? records : [...records, after]
        const { rows: known } = await sql<{ record: string }>`
          select record from thread_versions where record = any(${asked})`.execute(transaction)
        const there = new Set(known.map(({ record }) => record))
        if (after !== undefined && !there.has(after)) return undefined
        const fresh = versions.filter(({ record }) => !there.has(record))
        if (fresh.length > 0) await takeIn(transaction, before, fresh)
        const row = await select(transaction).where('t.address', '=', address).executeTakeFirst()
        return toThread(row!)
      }),
    )
  }

  /**
   * As `apply` of one version whose outcome is known, in one statement: `next` is what the thread
   * is after it. False where the index is not at `after`, and then nothing was done.
   */
  async advance(
    next: IndexedThread,
    { messages, timestamp }: Pick<ThreadVersion, 'messages' | 'timestamp'>,
    after: string,
  ): Promise<boolean> {
    const { address, record, version, frontier } = next
    const { rows } = await reached(() =>
      sql<{ id: string }>`
        with thread as (
          update threads set version = ${version}, record = ${record},
            ends = ${[...frontier.ends]}, seq = ${frontier.seq}, messages = ${next.messages},
            updated_at = ${new Date(timestamp)}
          where address = ${address} and record = ${after} returning id
        ), versions as (
          insert into thread_versions (record, thread_id, version)
          select ${record}, id, ${version}::bigint from thread
        ), added as (
          insert into thread_messages
            (thread_id, seq, hash, role, author, created_at, key, body, search)
          select thread.id, given.* from thread, ${rowsOf(messages)}
          on conflict do nothing
        )
        select id from thread`.execute(this.#db),
    )
    return rows.length > 0
  }

  /**
   * As `apply` of the first version of a thread that is no fork, in one statement. Undefined where
   * the index knows the address already, and then nothing was done.
   */
  async begin(
    address: string,
    { record, version, timestamp, head, messages }: ThreadVersion,
  ): Promise<IndexedThread | undefined> {
    const { agent, role, project, task, path } = partsOf(address)
    const { title = null, createdBy, createdAt, key = null, ends, seq, count } = head
    const { rows } = await reached(() =>
      sql<{ id: string }>`
        with thread as (
          insert into threads (address, agent, role, project, task, path, version, record, ends,
            seq, messages, updated_at, title, created_by, created_at, key)
          values (${address}, ${agent}, ${role}, ${project}, ${task}, ${path}, ${version},
            ${record}, ${ends}, ${seq}, ${count}, ${new Date(timestamp)}, ${title},
            ${createdBy}, ${new Date(createdAt)}, ${key})
          on conflict do nothing returning id
        ), versions as (
          insert into thread_versions (record, thread_id, version)
          select ${record}, id, ${version}::bigint from thread
        ), added as (
          insert into thread_messages
            (thread_id, seq, hash, role, author, created_at, key, body, search)
          select thread.id, given.* from thread, ${rowsOf(messages)}
        )
        select id from thread`.execute(this.#db),
    )
    const [row] = rows
    if (!row) return undefined
    const named = { title, createdBy, createdAt, key, updatedAt: new Date(timestamp).toISOString() }
    const place = { version, record, frontier: { ends, seq }, messages: count }
    return { id: row.id, address, ...named, ...place, from: null, fromId: null }
  }

  /** Forgets a thread, so that it is read from the blobs anew. Forks of it stay forks. */
  async forget(address: string): Promise<void> {
    await reached(() =>
      this.#db.transaction().execute(async (transaction) => {
        const { id } = await lock(transaction, address)
        await transaction.deleteFrom('thread_messages').where('thread_id', '=', id).execute()
        await transaction.deleteFrom('thread_versions').where('thread_id', '=', id).execute()
        await sql`update threads set version = 0, record = null, ends = '{}', seq = 0, messages = 0,
          from_id = null, from_seq = null, from_ends = null where id = ${id}`.execute(transaction)
      }),
    )
  }
}

type Row = Selectable<ThreadTable>

/** The row of a thread, made where it is not there, and nobody else's until the commit. */
async function lock(transaction: BzzzDatabase, address: string): Promise<Row> {
  const find = () =>
    transaction
      .selectFrom('threads')
      .selectAll()
      .where('address', '=', address)
      .forUpdate()
      .executeTakeFirst()
  const row = await find()
  if (row) return row
  await place(transaction, address)
  return (await find())!
}

async function place(transaction: BzzzDatabase, address: string): Promise<void> {
  await transaction
    .insertInto('threads')
    .values({ address, ...partsOf(address) })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

function partsOf(address: string) {
  const parts = parseAddress(address)
  if (parts.kind !== 'semantic') throw new NotAThreadError('A thread has a semantic address.')
  const { agent, role = null, project, task = null, path } = parts
  return { agent, role, project, task, path }
}

async function takeIn(
  transaction: BzzzDatabase,
  before: Row,
  versions: readonly ThreadVersion[],
): Promise<void> {
  const messages = versions.flatMap((version) => version.messages)
  const added = await insertMessages(transaction, before.id, messages)
  await sql`insert into thread_versions (record, thread_id, version)
    select record, ${before.id}::bigint, version from unnest(
      ${versions.map(({ record }) => record)}::text[],
      ${versions.map(({ version }) => version)}::bigint[]
    ) as given (record, version) on conflict do nothing`.execute(transaction)
  const first = versions[0]!.head
  const isNew = Number(before.version) === 0
  const start = isNew
    ? { ends: first.from?.messages ?? [], seq: first.from?.seq ?? 0 }
    : { ends: before.ends, seq: Number(before.seq) }
  const placed = messages
    .filter(({ hash }) => added.has(hash))
    .map(({ hash, message }) => ({ hash, seq: message.seq, parents: message.parents }))
  const frontier = frontierAfter(start, placed)
  const newest = versions.reduce((a, b) => (b.version > a.version ? b : a))
  const isNewest = newest.version > Number(before.version)
  await transaction
    .updateTable('threads')
    .set({
      ...(isNew && (await birth(transaction, first))),
      ...(isNewest && {
        version: newest.version,
        record: newest.record,
        updated_at: new Date(newest.timestamp),
        title: newest.head.title ?? null,
      }),
      ends: [...frontier.ends],
      seq: frontier.seq,
      messages: Number(before.messages) + placed.length,
    })
    .where('id', '=', before.id)
    .execute()
}

async function birth(transaction: BzzzDatabase, head: ThreadHead) {
  const { from } = head
  if (from) await place(transaction, from.thread)
  const origin =
    from && (await select(transaction).where('t.address', '=', from.thread).executeTakeFirst())
  return {
    created_by: head.createdBy,
    created_at: new Date(head.createdAt),
    key: head.key ?? null,
    from_id: origin?.id ?? null,
    from_seq: from?.seq ?? null,
    from_ends: from?.messages ?? null,
  }
}

/** Returns the hashes that are new. */
async function insertMessages(
  transaction: BzzzDatabase,
  threadId: string,
  messages: readonly IndexedMessage[],
): Promise<Set<string>> {
  if (messages.length === 0) return new Set()
  const { rows } = await sql<{ hash: string }>`
    insert into thread_messages
      (thread_id, seq, hash, role, author, created_at, key, body, search)
    select ${threadId}::bigint, given.* from ${rowsOf(messages)}
    on conflict do nothing returning hash`.execute(transaction)
  return new Set(rows.map(({ hash }) => hash))
}

/** Messages as rows of a statement whose text is always the same. */
function rowsOf(messages: readonly IndexedMessage[]) {
  const column = <T>(of: (message: IndexedMessage) => T): T[] => messages.map(of)
  return sql`(select seq, hash, role, author, created_at, key, body,
      to_tsvector('simple', searched)
    from unnest(
      ${column(({ message }) => message.seq)}::bigint[],
      ${column(({ hash }) => hash)}::text[],
      ${column(({ message }) => message.role)}::text[],
      ${column(({ message }) => message.author)}::text[],
      ${column(({ message }) => message.createdAt)}::timestamptz[],
      ${column(({ message }) => message.key ?? null)}::text[],
      ${column(({ body }) => body)}::text[],
      ${column(({ searched }) => searched)}::text[]
    ) as message (seq, hash, role, author, created_at, key, body, searched)) as given`
}

export function select(db: BzzzDatabase) {
  return db
    .selectFrom('threads as t')
    .leftJoin('threads as origin', 'origin.id', 't.from_id')
    .selectAll('t')
    .select('origin.address as from_address')
}

export type ThreadRow = Row & { from_address: string | null }

export function toThread(row: ThreadRow): IndexedThread {
  const { from_address: thread, from_ends: messages, from_seq: seq } = row
  return {
    id: row.id,
    address: row.address,
    title: row.title,
    createdBy: row.created_by ?? '',
    createdAt: row.created_at?.toISOString() ?? '',
    updatedAt: row.updated_at?.toISOString() ?? '',
    key: row.key,
    version: Number(row.version),
    record: row.record ?? '',
    frontier: { ends: row.ends, seq: Number(row.seq) },
    messages: Number(row.messages),
    from: thread === null || messages === null ? null : { thread, messages, seq: Number(seq) },
    fromId: row.from_id,
  }
}
