import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { InvalidMessageError } from '../../../shared/errors.ts'
import { CONTENT_INLINE_BYTES_MAX } from '../../../shared/thread/constants.ts'
import { decodeHead, encodeHead, type ThreadHead } from '../../../shared/thread/head.ts'
import {
  decodeMessage,
  encodeMessage,
  messageHash,
  type ThreadMessage,
} from '../../../shared/thread/message.ts'
import { hashes, messages } from './arbitraries.ts'

const MESSAGE: ThreadMessage = {
  thread: 'bzzz://agent@apollo/thread',
  seq: 2,
  parents: ['a'.repeat(64)],
  role: 'user',
  author: 'somebody',
  content: 'hello',
  createdAt: '2026-11-23T18:00:00.000Z',
  refs: [],
}

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value))

describe('a message', () => {
  it('has one encoding, in which it is found again', () => {
    fc.assert(
      fc.property(messages(), (message) => {
        const bytes = encodeMessage(message)
        expect(decodeMessage(bytes)).toEqual(message)
        const shuffled = Object.fromEntries(Object.entries(message).toReversed())
        expect(encodeMessage(shuffled as unknown as ThreadMessage)).toEqual(bytes)
      }),
    )
  })

  it('is refused in any other encoding', () => {
    const bytes = encodeMessage(MESSAGE)
    expect(decodeMessage(bytes)).toEqual(MESSAGE)
    const { thread, ...rest } = MESSAGE
    expect(() => decodeMessage(encoded({ ...rest, thread }))).toThrow(InvalidMessageError)
    expect(() => decodeMessage(Buffer.from(`${bytes.toString()} `))).toThrow(InvalidMessageError)
    expect(() => decodeMessage(Buffer.from([0xff]))).toThrow(InvalidMessageError)
  })

  it('has exactly its fields', () => {
    const wrong: Record<string, unknown>[] = [
      { more: 1 },
      { role: 'robot' },
      { seq: 0 },
      { seq: 1 },
      { parents: [] },
      { parents: ['b'.repeat(64), 'a'.repeat(64)] },
      { parents: ['a'.repeat(64), 'a'.repeat(64)] },
      { thread: 'bzzz://Agent@apollo/thread' },
      { thread: `bzzz://b3/${'a'.repeat(64)}` },
      { author: '' },
      { author: 'a\0' },
      { createdAt: '2026-11-23T18:00:00Z' },
      { contentHash: 'c'.repeat(64), contentBytes: 1 },
      { content: undefined },
      { content: undefined, contentHash: 'c'.repeat(64) },
      { content: 'x'.repeat(CONTENT_INLINE_BYTES_MAX + 1) },
      { content: '\ud800' },
      { mediaType: 'text' },
    ]
    for (const change of wrong) {
      const bytes = encodeMessage({ ...MESSAGE, ...change } as ThreadMessage)
      const given = 'more' in change ? encoded({ ...MESSAGE, ...change }) : bytes
      expect(() => decodeMessage(given), JSON.stringify(change)).toThrow(InvalidMessageError)
    }
  })

  it('has another hash with any other text', () => {
    fc.assert(
      fc.property(messages(), messages(), (a, b) => {
        const isSame = encodeMessage(a).equals(encodeMessage(b))
        expect(messageHash(a) === messageHash(b)).toBe(isSame)
      }),
    )
  })
})

describe('the head of a thread', () => {
  it('has one encoding, in which it is found again', () => {
    const heads = fc.record<ThreadHead>({
      thread: fc.constant(MESSAGE.thread),
      createdBy: fc.constant('somebody'),
      createdAt: fc.constant(MESSAGE.createdAt),
      ends: hashes(),
      seq: fc.nat(),
      count: fc.nat(),
      added: hashes(),
      contents: hashes(),
    })
    fc.assert(
      fc.property(heads, fc.boolean(), (plain, isFork) => {
        const from = { thread: MESSAGE.thread, messages: plain.ends, seq: plain.seq }
        const head = isFork ? { ...plain, title: 'A title', key: 'k', from } : plain
        expect(decodeHead(encodeHead(head))).toEqual(head)
        const shuffled = Object.fromEntries(Object.entries(head).toReversed())
        const text = JSON.stringify(shuffled)
        expect(() => decodeHead(Buffer.from(text))).toThrow(InvalidMessageError)
      }),
    )
  })
})
