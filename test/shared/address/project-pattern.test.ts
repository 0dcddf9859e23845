import { describe, expect, it } from 'vitest'

import { parseProjectPattern, projectMatches } from '../../../shared/address/project-pattern.ts'
import { InvalidAddressError } from '../../../shared/errors.ts'

describe('project pattern', () => {
  it.each([
    ['*', 'apollo', true],
    ['apollo', 'apollo', true],
    ['Apollo', 'APOLLO', true],
    ['apollo', 'apollo-2', false],
    ['apollo-*', 'apollo-2', true],
    ['apollo-*', 'apollo-', true],
    ['apollo-*', 'apollo', false],
    ['apollo-*', 'my-apollo-2', false],
    ['a.*', 'ab', false],
    ['*', '*', false],
    ['apollo-*', 'apollo-*', false],
    ['*', '', false],
    ['*', '../etc', false],
    ['', 'apollo', false],
    ['**', 'apollo', false],
    ['*apollo', 'apollo', false],
    ['a*o', 'apollo', false],
  ])('%s covers %s: %s', (pattern, project, expected) => {
    expect(projectMatches(pattern, project)).toBe(expected)
  })

  it('normalises a pattern', () => {
    expect(parseProjectPattern('Apollo-*')).toBe('apollo-*')
    expect(parseProjectPattern('*')).toBe('*')
    expect(parseProjectPattern(`${'a'.repeat(62)}*`)).toHaveLength(63)
  })

  it.each(['', '**', '*a', 'a*b', 'a**', '-*', `${'a'.repeat(63)}*`])('refuses %s', (pattern) => {
    expect(() => parseProjectPattern(pattern)).toThrow(InvalidAddressError)
  })

  it('answers no instead of throwing when it is given no text', () => {
    expect(projectMatches(undefined as unknown as string, 'apollo')).toBe(false)
    expect(projectMatches('*', undefined as unknown as string)).toBe(false)
  })
})
