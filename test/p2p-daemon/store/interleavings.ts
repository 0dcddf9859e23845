import fc from 'fast-check'
import { expect, vi } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { all } from '../../suites/blob-store.ts'
import { FaultyFiles } from './faulty-files.ts'
import { blobOf } from './random.ts'
import { StoreFixture } from './store-fixture.ts'

const SIZES = [0, 40, 3000, 60_000, 70_000, 1_100_000]
const IDS = SIZES.length

type Operation =
  | { kind: 'put' | 'stream' | 'delete' | 'get' | 'verify'; id: number }
  | { kind: 'range'; id: number; start: number; length: number }
  | { kind: 'list' | 'compact' }

type Step =
  | { kind: 'together'; operations: Operation[] }
  | { kind: 'restart'; withoutIndex: boolean }
  | { kind: 'fault'; code: string; after: number; operations: Operation[] }

const id = fc.integer({ min: 0, max: IDS - 1 })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('put', 'stream'), id }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('delete'), id }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('get', 'verify'), id }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('range' as const),
      id,
      start: fc.nat(1_200_000),
      length: fc.nat(1_200_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('list', 'compact') }) },
)
const operations = fc.array(operation, { minLength: 1, maxLength: 8 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('together' as const), operations }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('restart' as const), withoutIndex: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      code: fc.constantFrom('ENOSPC', 'EIO', 'short'),
      after: fc.nat(12),
      operations,
    }),
  },
)

/** Any sequence of any operations at once, with restarts and failing writes between them. */
export const lives: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 3, maxLength: 14 })

/** Whether a blob is there; `either` while operations that disagree are under way. */
type State = boolean | 'either'

export async function live(steps: readonly Step[]): Promise<void> {
  const files = new FaultyFiles()
  const init = { packBlobBytesMax: 65_536, segmentBytesMax: 100_000, probeIntervalMs: 2 }
  await using fixture = await StoreFixture.open({ files }, init)
  const states: State[] = SIZES.map(() => false)
  for (const taken of steps) {
    if (taken.kind === 'restart') await fixture.restart(taken)
    else await together(fixture, files, taken, states)
    await settle(fixture, states)
  }
  await fixture.restart({ withoutIndex: true })
  await settle(fixture, states)
  expect(fixture.corrupt).toEqual([])
}

async function together(
  fixture: StoreFixture,
  files: FaultyFiles,
  taken: Exclude<Step, { kind: 'restart' }>,
  states: State[],
): Promise<void> {
  if (taken.kind === 'fault') {
    let writes = 0
    files.fault = (name) => {
      if (name === 'read' || name === 'open' || name === 'truncate') return undefined
      writes += 1
      return writes > taken.after ? taken.code : undefined
    }
  }
  for (const [id, state] of states.entries()) {
    const after = new Set([state])
    for (const { kind, ...rest } of taken.operations) {
      if (!('id' in rest) || rest.id !== id) continue
      if (kind === 'put' || kind === 'stream') after.add(true)
      if (kind === 'delete') after.add(false)
    }
    if (after.size > 1) states[id] = 'either'
  }
  const running = taken.operations.map((wanted) => run(fixture, wanted))
  const results = await Promise.allSettled(running)
  files.fault = () => undefined
  for (const [at, result] of results.entries()) {
    const wanted = taken.operations[at] as Operation
    if (result.status === 'rejected') expectRefusal(result.reason, taken.kind === 'fault')
    else decide(taken.operations, wanted, states)
  }
  await vi.waitFor(() => expect(fixture.store.health().writable).toBe(true), { interval: 2 })
}

/** A change nobody contradicts in the same step, once answered, holds. */
function decide(operations: readonly Operation[], done: Operation, states: State[]): void {
  if (!('id' in done) || !['put', 'stream', 'delete'].includes(done.kind)) return
  const deletes = done.kind === 'delete'
  const disputed = operations.some(
    (other) =>
      'id' in other &&
      other.id === done.id &&
      (deletes ? ['put', 'stream'].includes(other.kind) : other.kind === 'delete'),
  )
  if (!disputed) states[done.id] = !deletes
}

function expectRefusal(reason: unknown, faulty: boolean): void {
  const { code } = reason as { code: string }
  const allowed = ['BZZZ_BLOB_NOT_FOUND', 'BZZZ_RANGE_NOT_SATISFIABLE']
  if (faulty) allowed.push('BZZZ_STORAGE_UNAVAILABLE')
  if (!allowed.includes(code)) throw reason
}

async function run(fixture: StoreFixture, wanted: Operation): Promise<void> {
  const { store } = fixture
  if (wanted.kind === 'compact') return void (await store.compact({ garbageShareMin: 0.1 }))
  if (wanted.kind === 'list') return void (await all(store.list()))
  if (!('id' in wanted)) return
  const bytes = bytesOf(wanted.id)
  const hash = hashBytes(bytes)
  switch (wanted.kind) {
    case 'put':
      return void (await store.put(bytes))
    case 'stream':
      return void (await store.put(pieces(bytes)))
    case 'delete':
      return void (await store.delete(hash))
    case 'verify':
      expect(await store.verify(hash)).toBe(true)
      return
    case 'get':
      expect((await fixture.read(hash)).equals(bytes)).toBe(true)
      return
    case 'range': {
      const { start } = wanted
      const end = start + wanted.length
      const read = await fixture.read(hash, { start, end })
      expect(read.equals(bytes.subarray(start, end + 1))).toBe(true)
    }
  }
}

async function settle(fixture: StoreFixture, states: State[]): Promise<void> {
  const there: string[] = []
  for (const [id, state] of states.entries()) {
    const bytes = bytesOf(id)
    const hash = hashBytes(bytes)
    const found = (await fixture.store.stat(hash)) !== undefined
    if (state !== 'either') expect({ id, found }).toEqual({ id, found: state })
    if (!found) continue
    states[id] = true
    there.push(hash)
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
  }
  expect((await all(fixture.store.list())).map(({ hash }) => hash)).toEqual(there.toSorted())
  expect((await fixture.store.usage()).blobs).toBe(there.length)
}

const blobs = SIZES.map((size, at) => blobOf(at, size))

function bytesOf(at: number): Buffer {
  return blobs[at] as Buffer
}

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 50_000) yield bytes.subarray(at, at + 50_000)
}
