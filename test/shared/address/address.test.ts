import { describe, expect, it } from 'vitest'

import type { Address } from '../../../shared/address/address.ts'
import { formatAddress, parseAddress, recordName } from '../../../shared/address/address.ts'
import { InvalidAddressError } from '../../../shared/errors.ts'
import { ADDRESS_CHARS_MAX } from '../../../shared/limits.ts'
import { ACCEPTED, REFUSED } from './examples.ts'

const HASH = 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'

function errorOf(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

describe('address', () => {
  it.each(ACCEPTED)('accepts $input ($note)', ({ input, canonical }) => {
    const address = parseAddress(input)
    expect(formatAddress(address)).toBe(canonical)
    expect(parseAddress(canonical)).toEqual(address)
  })

  it.each(REFUSED)('refuses $input', ({ input, reason }) => {
    const error = errorOf(() => parseAddress(input))
    expect(error).toBeInstanceOf(InvalidAddressError)
    expect((error as InvalidAddressError).message).toBe(reason)
  })

  it('gives every part decoded', () => {
    expect(parseAddress('bzzz://A:R@P:T/x%20y/%C3%BC?v=3#a%20b')).toEqual({
      kind: 'semantic',
      agent: 'a',
      role: 'r',
      project: 'p',
      task: 't',
      path: 'x y/ü',
      version: 3,
      fragment: 'a b',
    })
  })

  it('leaves out the parts that are not there', () => {
    expect(Object.keys(parseAddress('a@b/c'))).toEqual(['kind', 'agent', 'project', 'path'])
    expect(Object.keys(parseAddress(`b3/${HASH}`))).toEqual(['kind', 'hash'])
  })

  it('names a record without version, moment and fragment', () => {
    const name = 'bzzz://a:r@b:t/c%20d'
    expect(recordName(parseAddress('A:R@b:t/c d'))).toBe(name)
    expect(recordName(parseAddress(`${name}?v=3#x`))).toBe(name)
    expect(recordName(parseAddress(`${name}?at=2026-11-23T09:00:00Z`))).toBe(name)
    expect(recordName(parseAddress(`b3/${HASH}/x`))).toBe(`bzzz://b3/${HASH}/x`)
  })

  it('keeps the longest canonical text within what it parses', () => {
    const label = 'a'.repeat(63)
    const longest: Address = {
      kind: 'semantic',
      agent: label,
      role: label,
      project: label,
      task: label,
      path: 'ü'.repeat(512),
      at: '2026-11-23T09:00:00.000Z',
      fragment: 'ü'.repeat(120),
    }
    const text = formatAddress(longest)
    expect(text).toHaveLength(4084)
    expect(text.length).toBeLessThanOrEqual(ADDRESS_CHARS_MAX)
    expect(parseAddress(text)).toEqual(longest)
  })

  const wrong: [string, unknown][] = [
    ['no object', null],
    ['no kind', { hash: HASH }],
    ['a short hash', { kind: 'content', hash: 'abc' }],
    ['no hash', { kind: 'content' }],
    ['an agent with an @', { kind: 'semantic', agent: 'a@b', project: 'c', path: 'd' }],
    ['no project', { kind: 'semantic', agent: 'a', path: 'd' }],
    ['a star as project', { kind: 'semantic', agent: 'a', project: '*', path: 'd' }],
    ['no path', { kind: 'semantic', agent: 'a', project: 'b' }],
    ['a path that climbs', { kind: 'semantic', agent: 'a', project: 'b', path: 'c/../../d' }],
    ['a path from the root', { kind: 'semantic', agent: 'a', project: 'b', path: '/etc' }],
    ['half a version', { kind: 'semantic', agent: 'a', project: 'b', path: 'c', version: 1.5 }],
    ['a text as moment', { kind: 'semantic', agent: 'a', project: 'b', path: 'c', at: 'noon' }],
    ['an empty fragment', { kind: 'semantic', agent: 'a', project: 'b', path: 'c', fragment: '' }],
    [
      'version and moment',
      {
        kind: 'semantic',
        agent: 'a',
        project: 'b',
        path: 'c',
        version: 1,
        at: '2026-11-23T09:00:00.000Z',
      },
    ],
  ]

  it.each(wrong)('does not format %s', (_, address) => {
    expect(errorOf(() => formatAddress(address as Address))).toBeInstanceOf(InvalidAddressError)
  })

  it('normalises what it formats', () => {
    const address: Address = {
      kind: 'semantic',
      agent: 'A',
      project: 'B',
      path: 'u\u0308',
      at: '2026-11-23T10:00:00+01:00',
    }
    expect(formatAddress(address)).toBe('bzzz://a@b/%C3%BC?at=2026-11-23T09:00:00.000Z')
  })

  it('says what is wrong in one short sentence that repeats nothing of the input', () => {
    const secret = 'hunter2'.repeat(500)
    for (const input of [secret, `${secret}@b/c`, `a@b/c?${secret}=1`, `a@b/c?v=${secret}`]) {
      const error = errorOf(() => parseAddress(input)) as InvalidAddressError
      expect(error).toBeInstanceOf(InvalidAddressError)
      expect(error.message).toMatch(/^[^\n]{1,120}\.$/)
      expect(error.message).not.toContain('hunter')
    }
  })

  it('refuses what is no text', () => {
    for (const input of [undefined, null, 42, {}, ['a@b/c']]) {
      expect(errorOf(() => parseAddress(input as string))).toBeInstanceOf(InvalidAddressError)
    }
  })
})
