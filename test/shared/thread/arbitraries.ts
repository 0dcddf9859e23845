import fc from 'fast-check'

import { CONTENT_INLINE_BYTES_MAX } from '../../../shared/thread/constants.ts'
import { MESSAGE_ROLES, type ThreadMessage } from '../../../shared/thread/message.ts'

const hash = fc.string({
  unit: fc.constantFrom(...'0123456789abcdef'),
  minLength: 64,
  maxLength: 64,
})

/** Some hashes, in order and none twice. */
export const hashes = () =>
  fc.uniqueArray(hash, { maxLength: 4 }).map((some) => some.toSorted((a, b) => (a < b ? -1 : 1)))

const word = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((text) => text.isWellFormed() && !text.includes('\0'))

const content = fc
  .string({ unit: 'binary', maxLength: 200 })
  .filter((text) => text.isWellFormed() && Buffer.byteLength(text) <= CONTENT_INLINE_BYTES_MAX)

const time = fc
  .date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true })
  .map((date) => date.toISOString())

/** Messages of every shape that is allowed. */
export function messages(): fc.Arbitrary<ThreadMessage> {
  return fc
    .record({
      parents: hashes(),
      seq: fc.integer({ min: 2, max: 1_000_000 }),
      role: fc.constantFrom(...MESSAGE_ROLES),
      author: word,
      body: fc.oneof(
        fc.record({ content }),
        fc.record({ contentHash: hash, contentBytes: fc.nat() }),
      ),
      type: fc.option(fc.constantFrom('text/markdown', 'application/json; v=1'), {
        nil: undefined,
      }),
      createdAt: time,
      refs: fc.array(word, { maxLength: 3 }),
      key: fc.option(word, { nil: undefined }),
    })
    .map(({ parents, seq, body, type, key, ...rest }) => ({
      thread: 'bzzz://agent@apollo/thread',
      ...rest,
      parents,
      seq: parents.length === 0 ? 1 : seq,
      ...body,
      ...(type !== undefined && { mediaType: type }),
      ...(key !== undefined && { key }),
    }))
}
