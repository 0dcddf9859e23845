import { generateKeyPairSync } from 'node:crypto'

import { describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { InvalidRecordError } from '../../../shared/errors.ts'
import {
  type AddressRecord,
  decodeRecord,
  encodeRecord,
  recordHash,
  signRecord,
  verifyRecord,
} from '../../../shared/record/record.ts'

const key = createNodeKey()

const RECORD: AddressRecord = signRecord(
  {
    address: 'bzzz://reviewer:lead@apollo:42/plan.md',
    version: 1,
    hash: hashBytes(Buffer.from('The plan: ship it.\n')),
    sizeBytes: 19,
    mediaType: 'text/markdown',
    previous: null,
    author: key.peerId,
    timestampMs: 1_763_900_000_000,
  },
  key.signingKey,
)

describe('a record', () => {
  it('comes back from its bytes, signed', () => {
    const read = decodeRecord(encodeRecord(RECORD))
    expect(read).toEqual(RECORD)
    expect(() => verifyRecord(read)).not.toThrow()
    expect(recordHash(read)).toBe(hashBytes(encodeRecord(RECORD)))
  })

  it('has one text: the bits of the signature that do not count are zero', () => {
    const others = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/']
      .map((letter) => RECORD.signature.replace(/.==$/, `${letter}==`))
      .filter((signature) => signature !== RECORD.signature)
    expect(others).toHaveLength(63)
    const same = others.filter((signature) => {
      const bytes = Buffer.from(signature, 'base64')
      return bytes.equals(Buffer.from(RECORD.signature, 'base64'))
    })
    // Texts of the very same signature, which would be valid and have another hash.
    expect(same).toHaveLength(15)
    for (const signature of others) {
      const refused = (): void => verifyRecord(decodeRecord(encodeRecord({ ...RECORD, signature })))
      expect(refused).toThrow(InvalidRecordError)
    }
  })

  it('is nobody else’s', () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const { signature: _signature, ...fields } = RECORD
    expect(() => verifyRecord(signRecord(fields, privateKey))).toThrow(InvalidRecordError)
  })
})
