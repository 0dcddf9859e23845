import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  chain,
  CHAIN_START,
  verifyChain,
  type AuditRow,
  type ChainHead,
} from '../../../shared/audit/audit-chain.ts'
import { createEntry, parseEntry } from '../../../shared/audit/audit-entry.ts'

const text = fc.string({ unit: 'binary', maxLength: 40 })

const entries = fc.array(
  fc
    .record({
      component: text,
      actor: text,
      tokenId: text,
      remote: text,
      action: text,
      resource: text,
      outcome: fc.constantFrom('allow' as const, 'deny' as const),
      status: fc.integer({ min: 100, max: 599 }),
      requestId: text,
      argumentsHash: text,
    })
    .map(createEntry),
  { minLength: 1, maxLength: 30 },
)

/** A chain as it stands in a database: rows, and where they end. */
const stored = entries.map((list) => {
  const rows = chain(CHAIN_START, list)
  return { rows, head: headOf(rows) }
})

function headOf(rows: readonly AuditRow[]): ChainHead {
  const { seq, hash } = rows.at(-1)!
  return { seq, hash }
}

const FIELDS = [
  'seq',
  'id',
  'at',
  'component',
  'actor',
  'tokenId',
  'remote',
  'action',
  'resource',
  'outcome',
  'status',
  'requestId',
  'argumentsHash',
  'previousHash',
  'hash',
] as const

/** Another value of the same kind, so that only the hash can tell. */
function changed(value: string | number): string | number {
  return typeof value === 'number' ? value + 1 : `${value}x`
}

describe('audit-chain', () => {
  it('holds as it was written, in one go or entry by entry', () =>
    fc.assert(
      fc.asyncProperty(entries, async (list) => {
        const atOnce = chain(CHAIN_START, list)
        const singly: AuditRow[] = []
        for (const entry of list) {
          singly.push(...chain(singly.length > 0 ? headOf(singly) : CHAIN_START, [entry]))
        }
        expect(singly).toEqual(atOnce)
        const head = headOf(atOnce)
        expect(await verifyChain(atOnce, [head])).toEqual({ whole: true, head })
      }),
    ))

  it('shows any field of any row that was changed, at that row', () =>
    fc.assert(
      fc.asyncProperty(stored, fc.nat(), fc.constantFrom(...FIELDS), async (given, at, field) => {
        const { rows, head } = given
        const index = at % rows.length
        const row = rows[index]!
        const forged = rows.with(index, { ...row, [field]: changed(row[field]) } as AuditRow)
        expect(await verifyChain(forged, [head])).toMatchObject({
          whole: false,
          brokenAt: index + 1,
        })
      }),
    ))

  it('shows a row that was changed and given the hash that fits it', () =>
    fc.assert(
      fc.asyncProperty(stored, fc.nat(), async ({ rows, head }, at) => {
        const index = at % rows.length
        const before = index > 0 ? headOf(rows.slice(0, index)) : CHAIN_START
        const forged = chain(before, [{ ...rows[index]!, actor: 'somebody else entirely' }])
        expect(await verifyChain(rows.with(index, forged[0]!), [head])).toMatchObject({
          whole: false,
        })
      }),
    ))

  it('shows any row that was removed, also the last ones', () =>
    fc.assert(
      fc.asyncProperty(stored, fc.nat(), fc.nat(), async ({ rows, head }, at, many) => {
        const index = at % rows.length
        const count = 1 + (many % (rows.length - index))
        const rest = rows.toSpliced(index, count)
        expect(await verifyChain(rest, [head])).toMatchObject({
          whole: false,
          brokenAt: index + 1,
        })
      }),
    ))

  it('shows any two rows that changed places, with or without their numbers', () =>
    fc.assert(
      fc.asyncProperty(stored, fc.nat(), fc.nat(), fc.boolean(), async (given, a, b, numbers) => {
        const { rows, head } = given
        const [one, other] = [a % rows.length, b % rows.length]
        fc.pre(one !== other)
        const keep = (row: AuditRow, seq: number) => (numbers ? { ...row, seq } : row)
        const swapped = rows
          .with(one, keep(rows[other]!, one + 1))
          .with(other, keep(rows[one]!, other + 1))
        expect(await verifyChain(swapped, [head])).toMatchObject({
          whole: false,
          brokenAt: Math.min(one, other) + 1,
        })
      }),
    ))

  it('shows a chain that was written anew as a whole, to whoever saw the old one', () =>
    fc.assert(
      fc.asyncProperty(stored, fc.nat(), async ({ rows }, at) => {
        const seen = rows[at % rows.length]!
        const forged = chain(
          CHAIN_START,
          rows.map((row) => ({ ...row, actor: 'somebody else entirely' })),
        )
        const own = headOf(forged)
        expect(await verifyChain(forged, [own])).toMatchObject({ whole: true })
        const anchor = { seq: seen.seq, hash: seen.hash }
        expect(await verifyChain(forged, [own, anchor])).toMatchObject({ whole: false })
      }),
    ))

  it('holds while it is empty', async () => {
    expect(await verifyChain([], [CHAIN_START])).toEqual({ whole: true, head: CHAIN_START })
  })

  it('reads entries as they were written, and a torn line not at all', () =>
    fc.assert(
      fc.property(entries, fc.nat(), (list, cut) => {
        const line = JSON.stringify(list[0])
        expect(parseEntry(line)).toEqual(list[0])
        expect(() => parseEntry(line.slice(0, cut % line.length))).toThrow()
      }),
    ))
})
