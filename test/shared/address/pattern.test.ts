import { describe, expect, it } from 'vitest'

import { parseAddress } from '../../../shared/address/address.ts'
import { matchesPattern, parsePattern } from '../../../shared/address/pattern.ts'
import { InvalidAddressError } from '../../../shared/errors.ts'
import { PATTERNS, PATTERNS_REFUSED } from './examples.ts'

describe('address pattern', () => {
  it.each(PATTERNS)('$pattern: $note', ({ pattern, matches, passesOver }) => {
    const parsed = parsePattern(pattern)
    const found = [...matches, ...passesOver].filter((text) =>
      matchesPattern(parsed, parseAddress(text)),
    )
    expect(found).toEqual(matches)
  })

  it.each(PATTERNS_REFUSED)('refuses $input', ({ input, reason }) => {
    expect(() => parsePattern(input)).toThrow(new InvalidAddressError(reason))
  })

  it('gives its parts normalised, for an index to search by', () => {
    expect(parsePattern('/bzzz://A:*@B/u%CC%88/')).toEqual({
      agent: 'a',
      role: '*',
      project: 'b',
      path: 'ü',
      below: true,
    })
    expect(parsePattern('*@*/')).toEqual({ agent: '*', project: '*', path: '', below: true })
    expect(parsePattern('*@*/**')).toEqual(parsePattern('*@*/'))
  })
})
