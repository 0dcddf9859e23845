import { describe, expect, it } from 'vitest'

import {
  PROVIDE_BURST,
  PROVIDE_QUEUE_MAX,
  PROVIDES_PER_SECOND,
} from '../../../p2p-daemon/dht/constants.ts'
import { capabilityKey, rootKey, type ProviderKey } from '../../../p2p-daemon/dht/keys.ts'
import { ProvideQueue } from '../../../p2p-daemon/dht/provide-queue.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'

const root = (text: string | number): ProviderKey => rootKey(hashBytes(Buffer.from(`${text}`)))

describe('provide-queue', () => {
  it('lets a capability go before roots and without a pace', () => {
    const queue = new ProvideQueue()
    queue.add(root('a'))
    for (let n = 0; n < 100; n += 1) queue.add(capabilityKey(`skill/${n}`))
    for (let n = 0; n < 100; n += 1) {
      expect(queue.next(0)).toEqual({ key: capabilityKey(`skill/${n}`) })
    }
    expect(queue.next(0)).toEqual({ key: root('a') })
  })

  it('lets a burst of roots go, then one in its time', () => {
    const queue = new ProvideQueue()
    for (let n = 0; n < 2 * PROVIDE_BURST; n += 1) queue.add(root(n))
    const startMs = 1_000_000
    for (let n = 0; n < PROVIDE_BURST; n += 1) expect(queue.next(startMs)).toEqual({ key: root(n) })
    const next = queue.next(startMs)
    expect(next).toEqual({ waitMs: 1000 / PROVIDES_PER_SECOND })
    expect(queue.next(startMs + 1000 / PROVIDES_PER_SECOND)).toEqual({ key: root(PROVIDE_BURST) })
    expect(queue.next(startMs + 1000 / PROVIDES_PER_SECOND)).toHaveProperty('waitMs')
  })

  it('is full at its bound and holds a key once', () => {
    const queue = new ProvideQueue()
    for (let n = 0; n < PROVIDE_QUEUE_MAX; n += 1) expect(queue.add(root(n))).toBe(true)
    expect(queue.add(root('more'))).toBe(false)
    expect(queue.add(root(0))).toBe(true)
    expect(queue.size).toBe(PROVIDE_QUEUE_MAX)
  })

  it('forgets what is withdrawn', () => {
    const queue = new ProvideQueue()
    queue.add(root('a'))
    queue.delete(root('a'))
    expect(queue.next(0)).toEqual({ waitMs: Number.POSITIVE_INFINITY })
  })
})
