import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { GCWorld, GRACE_MS, type Event } from './gc-world.ts'

const CONTENTS = 6
const EVENTS_MAX = 50

/** Ends a hang; the work itself takes a few seconds. */
const TIMEOUT_MS = 120_000

const node = fc.nat({ max: 2 })
const content = fc.nat({ max: CONTENTS - 1 })
const ttlMs = fc.integer({ min: 1, max: 3 * GRACE_MS })

/** Time moves often and in all sizes; runs are begun, stepped, cut and finished among the rest. */
function events(partitions: boolean): fc.Arbitrary<Event[]> {
  const write = (what: 'put' | 'retain' | 'record' | 'pin' | 'unpin' | 'release') =>
    fc.record({ do: fc.constant(what), node, content }) as fc.Arbitrary<Event>
  const run = (what: 'begin' | 'crash' | 'collect' | 'isolate' | 'heal') =>
    fc.record({ do: fc.constant(what), node }) as fc.Arbitrary<Event>
  const count = fc.integer({ min: 1, max: 4 })
  const event: fc.Arbitrary<Event> = fc.oneof(
    { weight: 4, arbitrary: write('put') },
    { weight: 2, arbitrary: write('retain') },
    { weight: 2, arbitrary: write('record') },
    { weight: 1, arbitrary: fc.oneof(write('pin'), write('unpin'), write('release')) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('lease'), node, content, ttlMs }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('advance'),
        ms: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 700, max: 1_300 })),
      }),
    },
    { weight: 2, arbitrary: run('begin') },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('steps'), node, count }) },
    { weight: 5, arbitrary: run('collect') },
    { weight: 1, arbitrary: run('crash') },
    { weight: partitions ? 1 : 0, arbitrary: run('isolate') },
    { weight: partitions ? 2 : 0, arbitrary: run('heal') },
  ) as fc.Arbitrary<Event>
  return fc.array(event, { minLength: 20, maxLength: EVENTS_MAX, size: 'max' })
}

async function check(nodes: number, partitions: boolean, runs: number): Promise<void> {
  let deletions = 0
  const property = fc.asyncProperty(events(partitions), async (sequence) => {
    const world = new GCWorld({ nodes, contents: CONTENTS })
    try {
      for (const event of sequence) await world.play(event)
      expect(world.problems).toEqual([])
      deletions += world.deletions
      await world.settle()
      expect(world.problems).toEqual([])
      for (const each of world.contents) {
        const holders = await world.holdersOf(each)
        if (!each.named) expect(holders, 'unreferenced and still here').toEqual([])
      }
    } finally {
      world.close()
    }
  })
  await fc.assert(property, { numRuns: runs })
  // A property that never sees a deletion proves nothing.
  expect(deletions).toBeGreaterThan(0)
}

describe('collections among writers', { timeout: TIMEOUT_MS }, () => {
  it('delete nothing that is referenced or fresh, and all else, on one node', async () => {
    await check(1, false, 100)
  })

  it('delete nothing that is referenced or fresh, and all else, on three nodes', async () => {
    await check(3, false, 40)
  })

  it('lose nothing while nodes come and go', async () => {
    await check(3, true, 40)
  })
})
