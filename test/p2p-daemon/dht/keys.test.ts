import { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'

import {
  capabilityKey,
  isProviderKey,
  providerCID,
  recordKey,
  rootKey,
} from '../../../p2p-daemon/dht/keys.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { InvalidHashError, InvalidRequestError } from '../../../shared/errors.ts'

const SHA2_256 = 0x12

describe('keys', () => {
  it('makes a root key that kad-dht can read back', () => {
    const cid = providerCID(rootKey(hashBytes(Buffer.from('root'))))
    expect(cid.multihash.code).toBe(SHA2_256)
    // What the handlers of ADD_PROVIDER and GET_PROVIDERS do with it.
    expect(Buffer.from(CID.decode(cid.multihash.bytes).multihash.bytes)).toEqual(
      Buffer.from(cid.multihash.bytes),
    )
  })

  it('makes the same key everywhere: this one is part of the protocol', () => {
    expect(providerCID(rootKey('00'.repeat(32))).toString()).toBe(
      'bafkreidnldd6of5zfnokxrvrq5grnb5feqgsirv3tbq2wrevsd6sma34km',
    )
    expect(Buffer.from(recordKey('bzzz://agent@project/x')).toString()).toBe(
      `/bzzz/${hashBytes(Buffer.from('bzzz://agent@project/x'))}`,
    )
  })

  it('makes different keys for different roots', () => {
    const keys = ['a', 'b', 'c'].map((text) =>
      providerCID(rootKey(hashBytes(Buffer.from(text)))).toString(),
    )
    expect(new Set(keys).size).toBe(3)
  })

  it('refuses what is no hash', () => {
    expect(() => rootKey('nonsense')).toThrow(InvalidHashError)
  })

  it('keeps capabilities apart from roots of the same text', () => {
    const hash = '00'.repeat(32)
    expect(providerCID(capabilityKey(hash))).not.toEqual(providerCID(rootKey(hash)))
    expect(() => capabilityKey('')).toThrow(InvalidRequestError)
    expect(() => capabilityKey('x'.repeat(257))).toThrow(InvalidRequestError)
  })

  it('tells keys from other text', () => {
    for (const key of [capabilityKey('model/x'), rootKey('0f'.repeat(32))]) {
      expect(isProviderKey(key)).toBe(true)
    }
    for (const text of ['root/', 'root/xyz', 'capability/', 'capability', 'other/x', '']) {
      expect(isProviderKey(text)).toBe(false)
    }
  })
})
