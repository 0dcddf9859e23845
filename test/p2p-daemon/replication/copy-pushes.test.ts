import { randomBytes } from 'node:crypto'

import { describe, expect, it } from 'vitest'

import { MESSAGE_BYTES_MAX } from '../../../p2p-daemon/mesh/constants.ts'
import {
  PUSH_MESSAGES_MAX,
  PUSHED_BLOB_BYTES_MAX,
} from '../../../p2p-daemon/replication/constants.ts'
import {
  decodeCopies,
  encodeHeld,
  type Copy,
} from '../../../p2p-daemon/replication/copy-protocol.ts'
import { CopyPushes } from '../../../p2p-daemon/replication/copy-pushes.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { PeerUnreachableError } from '../../../shared/errors.ts'
import { until } from '../../helpers/mesh.ts'

const { signal } = new AbortController()

function copyOf(bytes: Buffer): Copy {
  return { hash: hashBytes(bytes), bytes }
}

const copies = (count: number, size = 100): Copy[] =>
  Array.from({ length: count }, () => copyOf(randomBytes(size)))

/** A peer that answers what it is told to, message by message. */
class Peer {
  readonly messages: { copies: Copy[]; answer: (held?: boolean[]) => void; fail: () => void }[] = []
  readonly pushes = new CopyPushes({ mesh: this })

  request(_peerId: string, _protocol: string, payload: Uint8Array): Promise<Uint8Array> {
    expect(payload.length).toBeLessThanOrEqual(MESSAGE_BYTES_MAX)
    const arrived = decodeCopies(payload)
    return new Promise((resolve, reject) => {
      this.messages.push({
        copies: arrived,
        answer: (held = arrived.map(() => true)) => resolve(encodeHeld(held)),
        fail: () => reject(new PeerUnreachableError('gone')),
      })
    })
  }

  push(all: readonly Copy[]): Promise<PromiseSettledResult<void>[]> {
    return Promise.allSettled(all.map((copy) => this.pushes.push('peer', copy, signal)))
  }

  arrived(count: number): Promise<void> {
    return until(() => this.messages.length === count, `${count} messages`)
  }
}

describe('copy-pushes', () => {
  it('sends what comes together in one message, and what comes meanwhile in the next', async () => {
    const peer = new Peer()
    const [first, second, third] = [copies(10), copies(10), copies(10)]
    const sent = [peer.push(first)]
    await peer.arrived(1)
    sent.push(peer.push(second))
    await peer.arrived(PUSH_MESSAGES_MAX)
    sent.push(peer.push(third))
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(peer.messages).toHaveLength(PUSH_MESSAGES_MAX)
    peer.messages[0]!.answer()
    await peer.arrived(3)
    for (const { answer } of peer.messages) answer()
    const settled = (await Promise.all(sent)).flat()
    expect(settled.every(({ status }) => status === 'fulfilled')).toBe(true)
    const hashes = peer.messages.map((message) => message.copies.map(({ hash }) => hash))
    expect(hashes).toEqual([first, second, third].map((each) => each.map(({ hash }) => hash)))
  })

  it('keeps messages within their bounds', async () => {
    const peer = new Peer()
    const sent = peer.push(copies(40, PUSHED_BLOB_BYTES_MAX))
    let answered = 0
    await until(() => {
      for (; answered < peer.messages.length; answered += 1) peer.messages[answered]!.answer()
      return peer.messages.reduce((sum, message) => sum + message.copies.length, 0) === 40
    }, 'all copies')
    for (const { answer } of peer.messages) answer()
    expect((await sent).every(({ status }) => status === 'fulfilled')).toBe(true)
  })

  it('counts a copy that the peer did not take as none, and only that one', async () => {
    const peer = new Peer()
    const sent = peer.push(copies(3))
    await peer.arrived(1)
    peer.messages[0]!.answer([true, false, true])
    const outcomes = (await sent).map(({ status }) => status)
    expect(outcomes).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  it('takes no answer for copies that it did not send', async () => {
    const peer = new Peer()
    const sent = peer.push(copies(2))
    await peer.arrived(1)
    peer.messages[0]!.answer([true])
    expect((await sent).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  })

  it('leaves nobody waiting behind a peer that went, and serves it when it is back', async () => {
    const peer = new Peer()
    const sent = [peer.push(copies(2))]
    await peer.arrived(1)
    sent.push(peer.push(copies(2)))
    await peer.arrived(2)
    sent.push(peer.push(copies(2)))
    for (const { fail } of peer.messages) fail()
    const settled = (await Promise.all(sent)).flat()
    expect(settled.every(({ status }) => status === 'rejected')).toBe(true)
    const again = peer.push(copies(1))
    await peer.arrived(3)
    peer.messages[2]!.answer()
    expect((await again)[0]!.status).toBe('fulfilled')
  })

  it('refuses more than it may keep in memory for one peer', async () => {
    const peer = new Peer()
    const all = copies(1_000, PUSHED_BLOB_BYTES_MAX)
    const sent = peer.push(all)
    await peer.arrived(PUSH_MESSAGES_MAX)
    for (const { fail } of peer.messages) fail()
    const reasons = (await sent).map((each) => each.status === 'rejected' && each.reason.code)
    expect(reasons.filter((code) => code === 'BZZZ_OVERLOADED').length).toBeGreaterThan(400)
    expect(reasons).toContain('BZZZ_PEER_UNREACHABLE')
  })
})
