import { join, sep } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import type { Address } from '../../../shared/address/address.ts'
import { formatAddress, parseAddress, recordName } from '../../../shared/address/address.ts'
import { matchesPattern, parsePattern } from '../../../shared/address/pattern.ts'
import { projectMatches } from '../../../shared/address/project-pattern.ts'
import { InvalidAddressError } from '../../../shared/errors.ts'
import { ADDRESS_CHARS_MAX } from '../../../shared/limits.ts'
import { address, crowdedAddress } from './arbitraries.ts'
import { anyText, damagedText, percentSoup } from './hostile-text.ts'
import { spelled } from './spelling.ts'

/** Together 100,000. A failure prints its seed and path, which fc.assert takes to repeat it. */
const CASES = {
  roundTrip: 25_000,
  spelled: 10_000,
  anyText: 20_000,
  damaged: 25_000,
  soup: 10_000,
  pairs: 10_000,
}

const TIMEOUT_MS = 120_000
const ROOT = join(sep, 'srv', 'root')

function parseOrRefuse<Parsed>(parse: (text: string) => Parsed, text: string): Parsed | undefined {
  try {
    return parse(text)
  } catch (error) {
    if (error instanceof InvalidAddressError && /^[^\n]{1,120}\.$/.test(error.message)) {
      return undefined
    }
    throw error
  }
}

/** Holds for every text there is: it is refused by the typed error, or it is an address. */
function checkText(text: string): void {
  parseOrRefuse(parsePattern, text)
  projectMatches(text, 'apollo')
  projectMatches('apollo-*', text)
  const parsed = parseOrRefuse(parseAddress, text)
  if (parsed !== undefined) checkAddress(parsed)
}

function checkAddress(parsed: Address): void {
  const canonical = formatAddress(parsed)
  expect(canonical).toMatch(/^bzzz:\/\/[!-~]+$/)
  expect(canonical.length).toBeLessThanOrEqual(ADDRESS_CHARS_MAX)
  const again = parseAddress(canonical)
  expect(isDeepStrictEqual(again, parsed)).toBe(true)
  expect(formatAddress(again)).toBe(canonical)
  if (parsed.kind === 'semantic') {
    expect(matchesPattern(parsePattern(recordName(parsed)), parsed)).toBe(true)
  }
  if (parsed.path !== undefined) {
    // Nothing was resolved away: the file is exactly the path below the root.
    expect(join(ROOT, parsed.path)).toBe(ROOT + sep + parsed.path)
    expect(parsed.path).not.toMatch(/[\p{Cc}\\]/u)
  }
}

describe('address, for any input', { timeout: TIMEOUT_MS }, () => {
  it('parses what it formats', () => {
    const property = fc.property(address, (valid) => {
      expect(isDeepStrictEqual(parseAddress(formatAddress(valid)), valid)).toBe(true)
      checkAddress(valid)
    })
    fc.assert(property, { numRuns: CASES.roundTrip })
  })

  it('reads every spelling of an address as that address', () => {
    const property = fc.property(spelled, ({ meant, text }) => {
      expect(isDeepStrictEqual(parseAddress(text), meant)).toBe(true)
      expect(formatAddress(parseAddress(text))).toBe(formatAddress(meant))
    })
    fc.assert(property, { numRuns: CASES.spelled })
  })

  it('throws nothing but the typed error on arbitrary text', () => {
    fc.assert(fc.property(anyText, checkText), { numRuns: CASES.anyText })
  })

  it('throws nothing but the typed error on damaged addresses', () => {
    fc.assert(fc.property(damagedText, checkText), { numRuns: CASES.damaged })
  })

  it('throws nothing but the typed error on percent soup', () => {
    fc.assert(fc.property(percentSoup, checkText), { numRuns: CASES.soup })
  })

  it('gives two addresses the same text exactly when they are the same', () => {
    const property = fc.property(crowdedAddress, crowdedAddress, (one, other) => {
      const same = isDeepStrictEqual(one, other)
      expect(formatAddress(one) === formatAddress(other)).toBe(same)
      if (one.kind === 'content' || other.kind === 'content') return
      const sameRecord = recordName(one) === recordName(other)
      expect(matchesPattern(parsePattern(recordName(one)), other)).toBe(sameRecord)
    })
    fc.assert(property, { numRuns: CASES.pairs })
  })
})
