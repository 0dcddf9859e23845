import { describe, expect, it } from 'vitest'

import { originsOf } from '../../../gateway/providers/origins.ts'

describe('origins', () => {
  it('takes the pattern, and what is given for a function over it', () => {
    const origins = originsOf(['resolve', 'mcp'], {
      pattern: 'http://bzzz-{name}:8080/',
      given: ['mcp=https://mcp.example'],
    })
    expect(Object.fromEntries(origins)).toEqual({
      resolve: 'http://bzzz-resolve:8080',
      mcp: 'https://mcp.example',
    })
  })

  it.each([
    ['http://{name}/base', 'a path'],
    ['http://user@{name}', 'a user'],
    ['http://{name}?x', 'a query'],
    ['ftp://{name}', 'another scheme'],
    ['{name}:8080', 'no scheme'],
    [undefined, 'nothing'],
  ])('refuses %s: %s', (pattern, _case) => {
    expect(() => originsOf(['resolve'], { pattern, given: [] })).toThrow('is no origin')
  })

  it('names every entry at fault at once', () => {
    const reading = () => originsOf(['a', 'b'], { pattern: undefined, given: ['a', 'c=http://c'] })
    expect(reading).toThrow(/no function c\n.*a: "" .*\n.*b: "" /)
  })
})
