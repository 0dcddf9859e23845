import fc from 'fast-check'

import { formatAddress } from '../../../shared/address/address.ts'
import { address } from './arbitraries.ts'
import { spelled } from './spelling.ts'

/** What an attack, a broken client or a careless script puts into an address. */
const HOSTILE = [
  '% %% %2 %2F %2f %5c %00 %2e %2E%2e %25 %252e %c0%af %ed%a0%80 %ff %E2%82%AC %0a %7f %2A',
  '/ // /./ /../ .. . \\ \0 \u0085 \ud800 \udc00 \u0308 \u212a \u037e \ufeff \n',
  '@ : ? # & = * ** /** ?v= ?at= ?v=1 #x v= &at= 0 -1 1e3 9007199254740992 b3 B3/ bzzz:// A',
  '2026-02-30T00:00:00Z',
].flatMap((line) => line.split(' '))

const hostile = fc.constantFrom(...HOSTILE)

/** Any UTF-16, lone surrogates included, alone or after a beginning that is fine. */
export const anyText = fc
  .tuple(
    fc.constantFrom('', '', 'bzzz://', 'a@', 'a@b:', 'a@b/', 'a@b/c#', 'a@b/c?'),
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.string({ unit: 'grapheme', maxLength: 60 }),
      fc
        .array(fc.nat({ max: 0xffff }), { maxLength: 8 })
        .map((units) => String.fromCharCode(...units)),
    ),
  )
  .map(([start, rest]) => start + rest)

const edit = fc.record({
  place: fc.nat({ max: 400 }),
  removed: fc.nat({ max: 3 }),
  added: fc.oneof(hostile, fc.constant(''), fc.string({ unit: 'binary', maxLength: 2 })),
})

/** A valid text in which a few places were overwritten, cut out or filled in. */
export const damagedText = fc
  .tuple(
    fc.oneof(
      address.map(formatAddress),
      spelled.map(({ text }) => text),
    ),
    fc.array(edit, { minLength: 1, maxLength: 4 }),
  )
  .map(([valid, edits]) => {
    let damaged = valid
    for (const { place, removed, added } of edits) {
      const start = place % (damaged.length + 1)
      damaged = damaged.slice(0, start) + added + damaged.slice(start + removed)
    }
    return damaged
  })

/** Path, query and fragment made of nothing but trouble, after labels that are fine. */
export const percentSoup = fc
  .tuple(
    fc.constantFrom('a@b/', 'bzzz://a:r@b:t/', `b3/${'0'.repeat(64)}/`, 'a@b/c?at=', 'a@b/c#'),
    fc.array(fc.oneof(hostile, fc.constantFrom('a', '2', 'F', 'e')), { maxLength: 12 }),
  )
  .map(([start, pieces]) => start + pieces.join(''))
