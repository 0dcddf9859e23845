import { hashBytes } from '../blob/hash.ts'
import type { AuditEntry } from './audit-entry.ts'

/** An entry at its place in the chain. */
export interface AuditRow extends AuditEntry {
  seq: number
  previousHash: string
  hash: string
}

/** Where a chain ends, or ended when somebody last looked. */
export interface ChainHead {
  seq: number
  hash: string
}

export const CHAIN_START: ChainHead = { seq: 0, hash: '0'.repeat(64) }

/** The order of the fields is part of the format: rows of years ago are verified with it. */
function hashRow(row: Omit<AuditRow, 'hash'>): string {
  const { id, at, component, actor, tokenId, remote, action, resource, outcome } = row
  const { seq, status, requestId, argumentsHash, previousHash } = row
  const who = [component, actor, tokenId, remote]
  const what = [action, resource, outcome, status, requestId, argumentsHash]
  return hashBytes(Buffer.from(JSON.stringify([previousHash, seq, id, at, ...who, ...what])))
}

/** The entries as the rows that follow `head`, in their order. */
export function chain(head: ChainHead, entries: readonly AuditEntry[]): AuditRow[] {
  let last = head
  return entries.map((entry) => {
    const row = { ...entry, seq: last.seq + 1, previousHash: last.hash }
    last = { ...row, hash: hashRow(row) }
    return last as AuditRow
  })
}

export type ChainReport =
  | { whole: true; head: ChainHead }
  | { whole: false; brokenAt: number; reason: string }

/**
 * Walks the rows in order of `seq` and names the first one that does not hold.
 * @param known ends of the chain that somebody saw: the one written beside it, and older ones kept
 * elsewhere. A chain that was cut or written anew as a whole shows only against these.
 */
export async function verifyChain(
  rows: AsyncIterable<AuditRow> | Iterable<AuditRow>,
  known: readonly ChainHead[],
): Promise<ChainReport> {
  let last = CHAIN_START
  const broken = (brokenAt: number, reason: string): ChainReport => ({
    whole: false,
    brokenAt,
    reason,
  })
  for await (const row of rows) {
    const expected = last.seq + 1
    if (row.seq !== expected) return broken(expected, `there is no row ${expected}`)
    if (row.previousHash !== last.hash) return broken(expected, 'it does not follow the row before')
    if (row.hash !== hashRow(row)) return broken(expected, 'it was changed')
    if (known.some(({ seq, hash }) => seq === row.seq && hash !== row.hash)) {
      return broken(expected, 'another row stood here')
    }
    last = { seq: row.seq, hash: row.hash }
  }
  const end = Math.max(...known.map(({ seq }) => seq), 0)
  if (end > last.seq) return broken(last.seq + 1, `the chain went up to row ${end}`)
  return { whole: true, head: last }
}
