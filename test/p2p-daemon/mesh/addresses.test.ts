import { multiaddr } from '@multiformats/multiaddr'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  ownAddresses,
  parseBootstrapAddress,
  parseBootstrapAddresses,
  parseTCPAddress,
  peerIdOf,
  withoutPeerId,
} from '../../../p2p-daemon/mesh/addresses.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { InvalidConfigError } from '../../../shared/errors.ts'

const { peerId } = createNodeKey()

describe('addresses', () => {
  it.each([
    ['walnut:9101', '/dns4/walnut/tcp/9101'],
    ['walnut.cluster.local:9101', '/dns4/walnut.cluster.local/tcp/9101'],
    ['192.168.1.10:9101', '/ip4/192.168.1.10/tcp/9101'],
    ['[fd00::1]:9101', '/ip6/fd00::1/tcp/9101'],
    ['/ip4/10.0.0.1/tcp/9101', '/ip4/10.0.0.1/tcp/9101'],
    [`/dns4/walnut/tcp/9101/p2p/${peerId}`, `/dns4/walnut/tcp/9101/p2p/${peerId}`],
  ])('reads the bootstrap entry %s', (text, expected) => {
    expect(parseBootstrapAddress(text).toString()).toBe(expected)
  })

  it.each([
    'walnut',
    'walnut:',
    'walnut:0',
    'walnut:65536',
    'fd00::1:9101',
    'wal nut:9101',
    'http://walnut:9101',
    '/ip4/10.0.0.1/udp/9101/quic-v1',
    '/ip4/10.0.0.1/tcp/9101/ws',
    '/unix/tmp/socket',
    '',
  ])('refuses the bootstrap entry "%s"', (text) => {
    expect(() => parseBootstrapAddress(text)).toThrow(InvalidConfigError)
  })

  it('refuses a list without end', () => {
    const list = Array.from({ length: 65 }, (_, n) => `node-${n}:9101`)
    expect(() => parseBootstrapAddresses(list)).toThrow(InvalidConfigError)
  })

  it('separates an address from its peer id', () => {
    const address = multiaddr(`/ip4/10.0.0.1/tcp/9101/p2p/${peerId}`)
    expect(peerIdOf(address)).toBe(peerId)
    expect(withoutPeerId(address)).toBe('/ip4/10.0.0.1/tcp/9101')
  })

  it('announces loopback addresses only when there are no others', () => {
    const loopback = multiaddr('/ip4/127.0.0.1/tcp/9101')
    const lan = multiaddr('/ip4/192.168.1.10/tcp/9101')
    expect(ownAddresses([loopback])).toEqual(['/ip4/127.0.0.1/tcp/9101'])
    expect(ownAddresses([loopback, lan])).toEqual(['/ip4/192.168.1.10/tcp/9101'])
  })

  it('never throws at what a peer says its address is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `/ip4/${text}`),
        ),
        (text) => {
          const address = parseTCPAddress(text)
          return address === undefined || address.toString().includes('/tcp/')
        },
      ),
    )
  })
})
