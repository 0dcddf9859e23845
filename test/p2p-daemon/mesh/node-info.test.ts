import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  decodeAnnouncement,
  encodeAnnouncement,
  type Announcement,
} from '../../../p2p-daemon/mesh/node-info.ts'
import { ProtocolViolationError } from '../../../shared/errors.ts'

const announcement: Announcement = {
  node: {
    peerId: 'me',
    name: 'walnut',
    version: '2.0.0',
    roles: ['threads'],
    storage: true,
    weight: 1,
    zone: 'default',
    bulkPort: null,
  },
  addresses: ['/ip4/10.0.0.1/tcp/9101'],
  peers: [{ peerId: 'other', addresses: ['/ip4/10.0.0.2/tcp/9101'] }],
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

describe('node-info', () => {
  it('comes out as it went in', () => {
    expect(decodeAnnouncement(encodeAnnouncement(announcement), 'me')).toEqual(announcement)
  })

  it('ignores what a newer node says more', () => {
    const newer = { ...announcement, node: { ...announcement.node, gpu: true }, more: 1 }
    expect(decodeAnnouncement(json(newer), 'me')).toEqual(announcement)
  })

  it('refuses to hear one peer speak for another', () => {
    expect(() => decodeAnnouncement(json(announcement), 'you')).toThrow(ProtocolViolationError)
  })

  it('sends no more than the other side accepts', () => {
    const crowd = Array.from({ length: 500 }, (_, n) => ({ peerId: `p${n}`, addresses: [] }))
    const addresses = Array.from({ length: 20 }, (_, n) => `/ip4/10.0.0.1/tcp/${n + 1}`)
    const bytes = encodeAnnouncement({ ...announcement, addresses, peers: crowd })
    expect(decodeAnnouncement(bytes, 'me').peers).toHaveLength(256)
  })

  it.each([
    ['no JSON', Buffer.from('hello')],
    ['too many peers', json({ ...announcement, peers: Array(257).fill(announcement.peers[0]) })],
    ['a negative weight', json({ ...announcement, node: { ...announcement.node, weight: -1 } })],
    ['an impossible port', json({ ...announcement, node: { ...announcement.node, bulkPort: 0 } })],
    ['too many bytes', Buffer.alloc(256 * 1024 + 1, ' ')],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decodeAnnouncement(bytes, 'me')).toThrow(ProtocolViolationError)
  })

  it('throws one kind of error, whatever the bytes', () => {
    const input = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((text) => Buffer.from(text)),
    )
    fc.assert(
      fc.property(input, (bytes) => {
        expect(() => decodeAnnouncement(bytes, 'me')).toThrow(ProtocolViolationError)
      }),
    )
  })
})
