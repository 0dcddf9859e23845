import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { parseAddress, recordName } from '../../../shared/address/address.ts'
import { addressOf, conversationOf, projectOf } from '../../../shared/v1/conversation.ts'
import { V1_AUTHOR } from '../../helpers/v1-log.ts'

const chain = { author: V1_AUTHOR, genesisHash: 'a'.repeat(64) }
const issue = (repository: string | null) =>
  conversationOf({ topic: { kind: 'issue', issue: '15' }, repository }, chain)
const session = (name: string) =>
  conversationOf({ topic: { kind: 'session', session: name }, repository: null }, chain)

describe('conversation', () => {
  it('makes addresses of issues, sessions and what speaks of neither', () => {
    expect(addressOf(issue('Owner/Some_Repo.ts'), 1)).toBe('bzzz://v1@owner.some_repo.ts:15/thread')
    expect(addressOf(issue(null), 1)).toBe('bzzz://v1@v1-unknown:15/thread')
    expect(addressOf(issue(null), 2)).toBe('bzzz://v1@v1-unknown:15/thread-2')
    expect(addressOf(session('dep_1_15_1759576443'), 1)).toBe(
      'bzzz://v1@v1-sessions/session/dep_1_15_1759576443',
    )
    const log = conversationOf({ topic: null, repository: null }, chain)
    expect(addressOf(log, 1)).toBe(`bzzz://v1@v1-logs/chain/${V1_AUTHOR}/${'a'.repeat(64)}`)
  })

  it.each([
    '../../etc/passwd',
    'a/..',
    '/a',
    'a/b/c',
    'a/b\0',
    'a/b?v=1',
    'v1-unknown',
    'ａ/ｂ',
    '*/*',
  ])('takes %j for no repository', (repository) => {
    expect(projectOf(repository)).toMatch(/^v1-repository-[0-9a-f]{24}$/)
  })

  it('never lets a text of a log change what an address says', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('..', '.', '', '%2e%2e', 'a\\b'),
    )
    fc.assert(
      fc.property(text, text, (one, other) => {
        for (const of of [issue, session]) {
          const [first, second] = [addressOf(of(one), 1), addressOf(of(other), 1)]
          expect(recordName(parseAddress(first))).toBe(first)
          // Names that GitHub takes for the same are the same.
          const same = one === other || one.toLowerCase() === other.toLowerCase()
          if (!same) expect(first).not.toBe(second)
        }
      }),
    )
  })

  it('keeps repositories apart whose names look alike', () => {
    const names = ['a-b/c', 'a/b-c', 'a/b.c', 'a-b-c/d', 'a/b_c']
    expect(new Set(names.map(projectOf)).size).toBe(names.length)
    const long = `${'a'.repeat(39)}/${'b'.repeat(100)}`
    expect(projectOf(long)).not.toBe(projectOf(`${long.slice(0, -1)}c`))
  })
})
