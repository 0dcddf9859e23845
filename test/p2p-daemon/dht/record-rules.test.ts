import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { recordKey } from '../../../p2p-daemon/dht/keys.ts'
import { checkRecord, createValidator, selectRecord } from '../../../p2p-daemon/dht/record-rules.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { InvalidRecordError } from '../../../shared/errors.ts'
import { encodeRecord } from '../../../shared/record/record.ts'
import { makeRecord } from '../../helpers/record.ts'

const ADDRESS = 'bzzz://agent@project/plan'
const author = createNodeKey()
const rules = {
  isAuthorAllowed: (peerId: string) => peerId === author.peerId,
  mayStand: () => true,
}

describe('record-rules', () => {
  it('accepts a record under the key of its address', () => {
    const record = makeRecord({ address: ADDRESS }, author)
    expect(checkRecord(recordKey(ADDRESS), encodeRecord(record), rules)).toEqual(record)
  })

  it.each([
    [
      'under the key of another address',
      'bzzz://agent@project/other',
      encodeRecord(makeRecord({ address: ADDRESS }, author)),
    ],
    ['of an author who is not allowed', ADDRESS, encodeRecord(makeRecord({ address: ADDRESS }))],
    [
      'whose content was changed after signing',
      ADDRESS,
      encodeRecord({ ...makeRecord({ address: ADDRESS }, author), version: 9 }),
    ],
    [
      'signed by somebody else',
      ADDRESS,
      encodeRecord({ ...makeRecord({ address: ADDRESS }), author: author.peerId }),
    ],
    ['that is no record', ADDRESS, Buffer.from('{}')],
  ])('refuses a record %s and counts it', (_what, address, bytes) => {
    let refused = 0
    const validate = createValidator(rules, () => (refused += 1))
    expect(() => validate(recordKey(address), bytes)).toThrow(InvalidRecordError)
    expect(refused).toBe(1)
  })

  it('refuses any bytes with one kind of error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(() => checkRecord(recordKey(ADDRESS), bytes, rules)).toThrow(InvalidRecordError)
      }),
    )
  })

  it('selects the same record whatever order they come in', () => {
    const records = [
      makeRecord({ address: ADDRESS, version: 1 }, author),
      makeRecord({ address: ADDRESS, version: 3, timestampMs: 1 }, author),
      makeRecord({ address: ADDRESS, version: 3, timestampMs: 2 }, author),
      makeRecord({ address: ADDRESS, version: 2 }, author),
    ].map((record) => encodeRecord(record))
    const select = (candidates: Buffer[]): Buffer | undefined =>
      candidates[selectRecord(recordKey(ADDRESS), candidates) as number]
    const first = select(records)
    expect(first?.includes('"version":3')).toBe(true)
    fc.assert(
      fc.property(fc.shuffledSubarray(records, { minLength: 4 }), (shuffled) => {
        expect(select(shuffled)).toBe(first)
      }),
    )
  })
})
