import { sql, type ExpressionBuilder, type SqlBool } from 'kysely'

import type { AddressPattern } from '../address/pattern.ts'
import type { BzzzDatabase } from '../db/database.ts'
import type { Schema, ThreadTable } from '../db/schema.ts'
import { formatCursor, parseCursor } from './cursor.ts'
import { reached } from '../db/database-answer.ts'
import { select, toThread, type IndexedThread } from './thread-index.ts'
import type { ForkPoint } from './head.ts'
import type { ThreadMessage } from './message.ts'

/** A message and its name. */
export interface ReadMessage extends ThreadMessage {
  hash: string
}

export interface MessagePage {
  messages: ReadMessage[]
  /** Where the next page begins; null on the last one. */
  next: string | null
}

export interface ThreadPage {
  threads: IndexedThread[]
  next: string | null
}

/** A part of the messages that a thread shows: its own, or those of what it was forked from. */
export interface Stretch {
  threadId: string
  /** The last seq that belongs to it. */
  upTo: number | null
}

export interface PageQuery {
  after?: string | undefined
  limit: number
  order: 'asc' | 'desc'
}

export interface ListQuery {
  pattern?: AddressPattern | undefined
  /** Patterns of the projects that may be seen. */
  projects: readonly string[]
  after?: string | undefined
  limit: number
}

export interface SearchQuery extends ListQuery {
  text: string
  /** Only in this thread. */
  address?: string | undefined
}

/** Reads the index over threads. */
export class ThreadQuery {
  readonly #db: BzzzDatabase

  constructor(components: { db: BzzzDatabase }) {
    this.#db = components.db
  }

  /** Messages in the order of the thread, through all stretches, the oldest stretch first. */
  async page(stretches: readonly Stretch[], query: PageQuery): Promise<MessagePage> {
    const { limit, order } = query
    const messages: ReadMessage[] = []
    for (const stretch of order === 'asc' ? stretches : stretches.toReversed()) {
      const left = limit + 1 - messages.length
      if (left > 0) messages.push(...(await this.#stretch(stretch, { ...query, limit: left })))
    }
    const page = messages.slice(0, limit)
    const last = page.at(-1)
    const isLast = last === undefined || messages.length <= limit
    return { messages: page, next: isLast ? null : formatCursor(placeOf(last)) }
  }

  /** A message of these stretches by its hash. */
  async message(stretches: readonly Stretch[], hash: string): Promise<ReadMessage | undefined> {
    const rows = await reached(() =>
      this.#db
        .selectFrom('thread_messages')
        .select(['hash', 'body', 'seq', 'thread_id'])
        .where('hash', '=', hash)
        .where(
          'thread_id',
          'in',
          stretches.map(({ threadId }) => threadId),
        )
        .execute(),
    )
    const shown = rows.find(({ thread_id, seq }) => {
      const upTo = stretches.find(({ threadId }) => threadId === thread_id)?.upTo ?? null
      return upTo === null || Number(seq) <= upTo
    })
    return shown && toMessage(shown)
  }

  /** What the index has of these messages, as canonical JSON, by their hashes. */
  async bodies(
    address: string,
    messages: readonly { hash: string; seq: number }[],
  ): Promise<Map<string, string>> {
    const rows = await reached(() =>
      this.#db
        .selectFrom('thread_messages as m')
        .innerJoin('threads as t', 't.id', 'm.thread_id')
        .select(['m.hash', 'm.body'])
        .where('t.address', '=', address)
        // With both the rows are found by the key of the table.
        .where('m.seq', '=', sql<string>`any(${messages.map(({ seq }) => seq)}::bigint[])`)
        .where('m.hash', '=', sql<string>`any(${messages.map(({ hash }) => hash)})`)
        .execute(),
    )
    return new Map(rows.map(({ hash, body }) => [hash, body]))
  }

  /**
   * Whether a thread really left another one there. Who names the last messages of what it shows
   * knows their hashes, and with these all that went before; who only claims to come from a thread
   * is shown nothing of it.
   */
  async isForkPoint(threadId: string, { messages, seq }: ForkPoint): Promise<boolean> {
    if (messages.length === 0) return seq === 0
    const rows = await reached(() =>
      this.#db
        .selectFrom('thread_messages')
        .select('seq')
        .where('thread_id', '=', threadId)
        .where('seq', '<=', String(seq))
        .where('hash', '=', sql<string>`any(${[...messages]})`)
        .execute(),
    )
    return rows.length === messages.length && rows.some((row) => Number(row.seq) === seq)
  }

  /** The thread that was written to last comes first. */
  async list({ pattern, projects, after, limit }: ListQuery): Promise<ThreadPage> {
    let query = select(this.#db).where('t.version', '>', '0')
    if (pattern) query = query.where((on) => matches(on, pattern))
    if (after !== undefined) {
      const { number, text } = parseCursor(after)
      query = query.where(sql<SqlBool>`(t.updated_at, t.address) < (${new Date(number)}, ${text})`)
    }
    const rows = await reached(() =>
      query
        .where((on) => isCovered(on, projects))
        .orderBy('t.updated_at', 'desc')
        .orderBy('t.address', 'desc')
        .limit(limit + 1)
        .execute(),
    )
    const threads = rows.slice(0, limit).map(toThread)
    const last = threads.at(-1)
    if (last === undefined || rows.length <= limit) return { threads, next: null }
    const place = { number: Date.parse(last.updatedAt), text: last.address }
    return { threads, next: formatCursor(place) }
  }

  /** Messages with these words, in any thread that may be seen, the newest first. */
  async search(query: SearchQuery): Promise<MessagePage> {
    const { text, address, pattern, projects, after, limit } = query
    let found = this.#db
      .selectFrom('thread_messages as m')
      .innerJoin('threads as t', 't.id', 'm.thread_id')
      .select(['m.hash', 'm.body', 'm.created_at'])
      .where(sql<SqlBool>`m.search @@ websearch_to_tsquery('simple', ${text})`)
      .where((on) => isCovered(on as On, projects))
    if (address !== undefined) found = found.where('t.address', '=', address)
    if (pattern) found = found.where((on) => matches(on as On, pattern))
    if (after !== undefined) {
      const { number, text: hash } = parseCursor(after)
      found = found.where(sql<SqlBool>`(m.created_at, m.hash) < (${new Date(number)}, ${hash})`)
    }
    const rows = await reached(() =>
      found
        .orderBy('m.created_at', 'desc')
        .orderBy('m.hash', 'desc')
        .limit(limit + 1)
        .execute(),
    )
    const messages = rows.slice(0, limit).map(toMessage)
    const last = rows[limit - 1]
    if (last === undefined || rows.length <= limit) return { messages, next: null }
    return { messages, next: formatCursor({ number: last.created_at.getTime(), text: last.hash }) }
  }

  async #stretch({ threadId, upTo }: Stretch, query: PageQuery): Promise<ReadMessage[]> {
    const { after, limit, order } = query
    let rows = this.#db
      .selectFrom('thread_messages')
      .select(['hash', 'body'])
      .where('thread_id', '=', threadId)
    if (upTo !== null) rows = rows.where('seq', '<=', String(upTo))
    if (after !== undefined) {
      const { number, text } = parseCursor(after)
      // Backwards a bare number means before everything that has it.
      const from = order === 'desc' && !after.includes('.') ? '' : text
      const beyond = order === 'asc' ? sql`>` : sql`<`
      rows = rows.where(sql<SqlBool>`(seq, hash) ${beyond} (${number}, ${from})`)
    }
    const ordered = rows.orderBy('seq', order).orderBy('hash', order).limit(limit)
    return (await reached(() => ordered.execute())).map(toMessage)
  }
}

type On = ExpressionBuilder<Schema & { t: ThreadTable }, 't'>

/** As the search for addresses does (`p2p-daemon/records/record-names.ts`). */
function matches(on: On, { agent, role, project, task, path, below }: AddressPattern) {
  return on.and([
    ...(agent === '*' ? [] : [on('t.agent', '=', agent)]),
    ...(project === '*' ? [] : [on('t.project', '=', project)]),
    ...(role === '*' ? [] : [on('t.role', 'is not distinct from', role ?? null)]),
    ...(task === '*' ? [] : [on('t.task', 'is not distinct from', task ?? null)]),
    ...(below
      ? path === ''
        ? []
        : [sql<SqlBool>`starts_with(t.path, ${`${path}/`})`]
      : [on('t.path', '=', path)]),
  ])
}

function isCovered(on: On, projects: readonly string[]) {
  if (projects.includes('*')) return on.lit(true)
  return on.or(
    projects.map((pattern) =>
      pattern.endsWith('*')
        ? sql<SqlBool>`starts_with(t.project, ${pattern.slice(0, -1)})`
        : on('t.project', '=', pattern),
    ),
  )
}

function toMessage({ hash, body }: { hash: string; body: string }): ReadMessage {
  return { hash, ...(JSON.parse(body) as ThreadMessage) }
}

function placeOf({ seq, hash }: ReadMessage) {
  return { number: seq, text: hash }
}
