import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  frontierAfter,
  placeMessages,
  type Frontier,
  type PlacedMessage,
} from '../../../shared/thread/dag.ts'
import { decodeMessage, messageHash } from '../../../shared/thread/message.ts'

const NAME = 'bzzz://agent@apollo/thread'
const START: Frontier = { ends: [], seq: 0 }

const unplaced = (content: string) => ({
  role: 'user' as const,
  author: 'somebody',
  content,
  createdAt: '2026-11-23T18:00:00.000Z',
  refs: [],
})

const linksOf = (placed: readonly PlacedMessage[]) =>
  placed.map(({ hash, message: { seq, parents } }) => ({ hash, seq, parents }))

const after = (frontier: Frontier, placed: readonly PlacedMessage[]): Frontier =>
  frontierAfter(frontier, linksOf(placed))

/** What sides of a partition write, and after which of these writes all of them meet again. */
const histories = fc.array(
  fc.record({ side: fc.nat(2), count: fc.integer({ min: 1, max: 3 }), meet: fc.boolean() }),
  { maxLength: 12 },
)

/** Plays a history. Gives every version in the order of some node that saw them all. */
function play(history: readonly { side: number; count: number; meet: boolean }[]) {
  const sides: Frontier[] = [START, START, START]
  const versions: PlacedMessage[][] = []
  let known: PlacedMessage[] = []
  let written = 0
  for (const { side, count, meet } of history) {
    const texts = Array.from({ length: count }, () => unplaced(`${(written += 1)}`))
    const placed = placeMessages(NAME, sides[side]!, texts)
    sides[side] = after(sides[side]!, placed)
    versions.push(placed)
    known = [...known, ...placed]
    if (meet) sides.fill(after(START, known))
  }
  return { versions, known }
}

describe('the messages of a thread', () => {
  it('follow all ends there are, one behind the other', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const { versions, known } = play(history)
        const seqOf = new Map(known.map(({ hash, message }) => [hash, message.seq]))
        for (const { hash, message, bytes } of versions.flat()) {
          expect(decodeMessage(bytes)).toEqual(message)
          expect(messageHash(message)).toBe(hash)
          const highest = Math.max(0, ...message.parents.map((parent) => seqOf.get(parent)!))
          expect(message.seq).toBe(highest + 1)
        }
      }),
    )
  })

  it('end where nobody went on, taken in one by one or all at once', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const { versions, known } = play(history)
        const inTurn = versions.reduce((frontier, placed) => after(frontier, placed), START)
        const parents = new Set(known.flatMap(({ message }) => message.parents))
        const ends = known.map(({ hash }) => hash).filter((hash) => !parents.has(hash))
        expect(new Set(inTurn.ends)).toEqual(new Set(ends))
        expect(after(START, known)).toEqual(inTurn)
      }),
    )
  })

  it('are read in an order in which parents come first', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const { known } = play(history)
        const links = linksOf(known).toSorted((a, b) => a.seq - b.seq || (a.hash < b.hash ? -1 : 1))
        const seen = new Set<string>()
        for (const { hash, parents } of links) {
          expect(parents.every((parent) => seen.has(parent))).toBe(true)
          seen.add(hash)
        }
      }),
    )
  })

  it('have two parents after a partition', () => {
    const root = placeMessages(NAME, START, [unplaced('root')])
    const frontier = after(START, root)
    const left = placeMessages(NAME, frontier, [unplaced('left')])
    const right = placeMessages(NAME, frontier, [unplaced('right'), unplaced('right again')])
    const met = after(frontier, [...left, ...right])
    const [next] = placeMessages(NAME, met, [unplaced('next')])
    const both = [left[0]!.hash, right[1]!.hash].toSorted((a, b) => (a < b ? -1 : 1))
    expect(next!.message).toMatchObject({ seq: 4, parents: both })
  })
})
