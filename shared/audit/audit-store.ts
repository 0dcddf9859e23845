import type { BzzzDatabase } from '../db/database.ts'
import type { AuditTable } from '../db/schema.ts'
import { AuditBrokenError } from '../errors.ts'
import {
  chain,
  verifyChain,
  type AuditRow,
  type ChainHead,
  type ChainReport,
} from './audit-chain.ts'
import type { AuditEntry } from './audit-entry.ts'
import type { Insertable, Selectable } from 'kysely'

/** Rows read at once when the whole chain is walked. */
const PAGE_ROWS = 1000

/**
 * Adds entries to the end of the chain, in their order, all or none. Writers wait for each other at
 * the row of the head. Entries that are there already are left alone, so an attempt whose answer
 * was lost may be repeated.
 */
export async function appendEntries(
  db: BzzzDatabase,
  entries: readonly AuditEntry[],
): Promise<void> {
  if (entries.length === 0) return
  await db.transaction().execute(async (transaction) => {
    const head = await transaction
      .selectFrom('audit_head')
      .select(['seq', 'hash'])
      .forUpdate()
      .executeTakeFirst()
    if (!head) throw new AuditBrokenError('The head of the audit chain is gone.')
    const ids = entries.map(({ id }) => id)
    const there = await transaction
      .selectFrom('audit')
      .select('id')
      .where('id', 'in', ids)
      .execute()
    const known = new Set(there.map(({ id }) => id))
    const fresh = entries.filter(({ id }) => !known.has(id))
    const rows = chain({ seq: Number(head.seq), hash: head.hash }, fresh)
    const last = rows.at(-1)
    if (!last) return
    await transaction.insertInto('audit').values(rows.map(toTable)).execute()
    await transaction.updateTable('audit_head').set({ seq: last.seq, hash: last.hash }).execute()
  })
}

export interface AuditFilter {
  limit: number
  actor?: string
  action?: string
  outcome?: 'allow' | 'deny'
  sinceMs?: number
  /** Only rows that were written before this one. */
  beforeSeq?: number
}

/** The newest rows first. */
export async function listRows(db: BzzzDatabase, filter: AuditFilter): Promise<AuditRow[]> {
  let query = db.selectFrom('audit').selectAll().orderBy('seq', 'desc').limit(filter.limit)
  if (filter.actor !== undefined) query = query.where('actor', '=', filter.actor)
  if (filter.action !== undefined) query = query.where('action', 'like', `%${filter.action}%`)
  if (filter.outcome !== undefined) query = query.where('outcome', '=', filter.outcome)
  if (filter.sinceMs !== undefined) query = query.where('at', '>=', new Date(filter.sinceMs))
  if (filter.beforeSeq !== undefined) query = query.where('seq', '<', String(filter.beforeSeq))
  return (await query.execute()).map(toRow)
}

/** Walks the whole chain as it stands at one moment. */
export async function verifyDatabase(
  db: BzzzDatabase,
  options: { anchors?: readonly ChainHead[]; signal?: AbortSignal } = {},
): Promise<ChainReport> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (transaction) => {
      const head = await transaction.selectFrom('audit_head').selectAll().executeTakeFirst()
      if (!head) return { whole: false, brokenAt: 0, reason: 'the head of the chain is gone' }
      const known = [{ seq: Number(head.seq), hash: head.hash }, ...(options.anchors ?? [])]
      return verifyChain(readRows(transaction, options.signal), known)
    })
}

async function* readRows(db: BzzzDatabase, signal?: AbortSignal): AsyncIterable<AuditRow> {
  for (let after = -1; ;) {
    signal?.throwIfAborted()
    const page = await db
      .selectFrom('audit')
      .selectAll()
      .where('seq', '>', String(after))
      .orderBy('seq')
      .limit(PAGE_ROWS)
      .execute()
    yield* page.map(toRow)
    if (page.length < PAGE_ROWS) return
    after = Number(page.at(-1)!.seq)
  }
}

function toTable(row: AuditRow): Insertable<AuditTable> {
  const { tokenId, requestId, argumentsHash, previousHash, at, ...same } = row
  return {
    ...same,
    at: new Date(at),
    token_id: tokenId,
    request_id: requestId,
    arguments_hash: argumentsHash,
    previous_hash: previousHash,
  }
}

function toRow(row: Selectable<AuditTable>): AuditRow {
  const { token_id, request_id, arguments_hash, previous_hash, at, seq, outcome, ...same } = row
  return {
    ...same,
    seq: Number(seq),
    at: at.toISOString(),
    outcome: outcome as AuditRow['outcome'],
    tokenId: token_id,
    requestId: request_id,
    argumentsHash: arguments_hash,
    previousHash: previous_hash,
  }
}
