import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { RecordStore } from '../../../p2p-daemon/records/record-store.ts'
import { parsePattern } from '../../../shared/address/pattern.ts'
import { recordHash, type AddressRecord } from '../../../shared/record/record.ts'
import { makeRecord } from '../../helpers/record.ts'

const KEY = createNodeKey()
const NAME = 'bzzz://agent@apollo/plan.md'

let dir: string
let store: RecordStore

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bzzz-record-store-'))
  store = new RecordStore(join(dir, 'records.db'))
})

afterEach(() => {
  store.close()
  rmSync(dir, { recursive: true })
})

function make(fields: Partial<AddressRecord>): AddressRecord {
  return makeRecord({ address: NAME, ...fields }, KEY)
}

/** A tree of records in which every one follows one before it, and some settle others. */
function makeTree(choices: readonly { parent: number; merges: readonly number[] }[]) {
  const records = [make({ version: 1, previous: null })]
  for (const [index, { parent, merges }] of choices.entries()) {
    const previous = records[parent % records.length]!
    const settled = merges.map((choice) => records[choice % records.length]!)
    const merged = [...new Set(settled.map(recordHash))].filter(
      (hash) => hash !== recordHash(previous),
    )
    records.push(
      make({
        version: previous.version + 1,
        previous: recordHash(previous),
        timestampMs: 1_700_000_000_000 + index,
        ...(merged.length > 0 && { merged }),
      }),
    )
  }
  return records
}

function endsOf(records: readonly AddressRecord[]): string[] {
  const parents = new Set(records.flatMap(({ previous, merged = [] }) => [previous, ...merged]))
  return records.map(recordHash).filter((hash) => !parents.has(hash))
}

const tree = fc.array(
  fc.record({ parent: fc.nat(), merges: fc.array(fc.nat(), { maxLength: 2 }) }),
  { maxLength: 12 },
)

describe('record-store', () => {
  it('knows the ends of chains, whatever came first', () => {
    fc.assert(
      fc.property(tree, fc.infiniteStream(fc.nat()), (choices, random) => {
        const file = new RecordStore(':memory:')
        const records = makeTree(choices)
        const order = records
          .map((record) => ({ record, rank: random.next().value as number }))
          .toSorted((a, b) => a.rank - b.rank)
        for (const { record } of order) {
          expect(file.add(record)).toBe(true)
          expect(file.add(record)).toBe(false)
        }
        const expected = endsOf(records)
        expect(file.forks(NAME)).toBe(expected.length - 1)
        expect(file.ends(NAME, 100).map(recordHash).toSorted()).toEqual(expected.toSorted())
        const tips = file.tips(undefined, 100).map(({ hash }) => hash)
        expect(tips.toSorted()).toEqual(expected.toSorted())
        const pattern = parsePattern('bzzz://*@apollo/')
        const query = { pattern, projects: ['*'], after: '', limit: 10, forked: true }
        expect(file.search(query)).toHaveLength(expected.length > 1 ? 1 : 0)
        file.close()
      }),
      { numRuns: 200 },
    )
  })

  it('pages through a history with forks and leaves none of them out', () => {
    const base = make({ version: 1, previous: null })
    const forks = [1, 2, 3].map((fork) =>
      make({ version: 2, previous: recordHash(base), timestampMs: 1_700_000_000_000 + fork }),
    )
    const head = make({ version: 3, previous: recordHash(forks[0]!) })
    const all = [base, ...forks, head]
    for (const record of all) store.add(record)
    for (const limit of [1, 2, 3, 4, 5]) {
      const seen = new Set<string>()
      for (let before = Number.MAX_SAFE_INTEGER; ;) {
        const page = store.history(NAME, before, limit)
        for (const record of page) seen.add(recordHash(record))
        if (page.length === 0) break
        before = page.at(-1)!.version
      }
      // More ends of one version than fit on a page are not to be had.
      expect(seen.size).toBe(limit < 3 ? 2 + limit : all.length)
    }
  })

  it('does not let one address settle the ends of another', () => {
    const [left, right] = [1, 2].map((n) =>
      make({ version: 1, previous: null, timestampMs: 1_700_000_000_000 + n }),
    ) as [AddressRecord, AddressRecord]
    for (const record of [left, right]) store.add(record)
    const other = 'bzzz://agent@apollo/other'
    store.add(make({ address: other, version: 1, previous: null, merged: [recordHash(left)] }))
    expect(store.forks(NAME)).toBe(1)
  })

  it('fills in the names of a file from before there were any', () => {
    const records = makeTree([
      { parent: 0, merges: [] },
      { parent: 0, merges: [] },
    ])
    for (const record of records) store.add(record)
    store.close()
    const db = new DatabaseSync(join(dir, 'records.db'))
    db.exec('DROP TABLE names; DROP TABLE merges; PRAGMA user_version = 0')
    db.close()
    store = new RecordStore(join(dir, 'records.db'))
    expect(store.addresses()).toBe(1)
    expect(store.forks(NAME)).toBe(1)
    expect(store.heads('', 10)).toEqual([{ name: NAME, version: 2 }])
  })

  it('finds by every part, and no more than the projects allow', () => {
    const names = [
      'bzzz://a@apollo/plans/x',
      'bzzz://a@apollo/plans/y/z',
      'bzzz://a@apollo/plans',
      'bzzz://a@apollo/plans0',
      'bzzz://a:lead@apollo:t1/x',
      'bzzz://b@apollo-2/x',
      'bzzz://b@gemini/x',
    ]
    for (const address of names) store.add(make({ address, version: 1, previous: null }))
    const found = (pattern: string, projects: string[] = ['*']): string[] =>
      store
        .search({ pattern: parsePattern(pattern), projects, forked: false, after: '', limit: 100 })
        .map(({ name }) => name)
    expect(found('bzzz://*:*@*:*/')).toEqual(names.toSorted())
    expect(found('bzzz://a@apollo/plans/**')).toEqual(names.slice(0, 2))
    expect(found('bzzz://a@apollo/plans')).toEqual(names.slice(2, 3))
    expect(found('bzzz://*:lead@*:*/')).toEqual(names.slice(4, 5))
    expect(found('bzzz://*:*@apollo:t1/')).toEqual(names.slice(4, 5))
    expect(found('bzzz://b@*/x')).toEqual(names.slice(5))
    expect(found('bzzz://*:*@*:*/', ['apollo-*'])).toEqual(names.slice(5, 6))
    expect(found('bzzz://*:*@*:*/', ['apollo*', 'x'])).toHaveLength(6)
    expect(found('bzzz://*:*@*:*/', ['gemini'])).toEqual(names.slice(6))
    expect(found('bzzz://*:*@*:*/', [])).toEqual([])
  })

  it('adds those of one turn together, each once, or none of them', async () => {
    const first = make({ version: 1, previous: null })
    const second = make({ version: 2, previous: recordHash(first) })
    const other = makeRecord({ address: 'bzzz://agent@apollo/other' }, KEY)
    const together = (...records: AddressRecord[]) =>
      Promise.all(records.map((record) => store.addTogether(record)))
    const locked = new DatabaseSync(join(dir, 'records.db'))
    locked.exec('BEGIN IMMEDIATE')
    await expect(together(first, other)).rejects.toThrow('locked')
    locked.exec('ROLLBACK')
    locked.close()
    expect(store.lastSequence()).toBe(0)
    expect(await together(first, second, other, first)).toEqual([true, true, true, false])
    expect(store.head(NAME)).toEqual(second)
    expect(store.forks(NAME)).toBe(0)
    expect(await together(second)).toEqual([false])
    expect(store.lastSequence()).toBe(3)
  })
})
