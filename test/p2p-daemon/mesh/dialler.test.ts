import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { Dialler } from '../../../p2p-daemon/mesh/dialler.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'

const selfId = createNodeKey().peerId
const [a, b] = [createNodeKey().peerId, createNodeKey().peerId]
const MINUTE_MS = 60_000

/** Dials of a node in a network where `answer` decides what is found at an address. */
class Network {
  readonly dials: { at: number; addresses: string[] }[] = []
  readonly connected = new Set<string>()
  addresses: Record<string, string[]> = {}
  answer: (addresses: Multiaddr[]) => string | Error = () => new Error('refused')
  hanging: (() => void)[] = []
  dialler: Dialler

  constructor(bootstrap: string[] = []) {
    this.dialler = new Dialler(
      {
        log: createSilentLogger(),
        selfId,
        dial: (addresses, signal) => this.#dial(addresses, signal),
        isConnected: (peerId) => this.connected.has(peerId),
        expectedPeers: () => Object.keys(this.addresses),
        addressesOf: (peerId) => this.addresses[peerId] ?? [],
      },
      { bootstrap: bootstrap.map((text) => multiaddr(text)) },
    )
  }

  async #dial(addresses: Multiaddr[], signal: AbortSignal): Promise<string> {
    this.dials.push({ at: Date.now(), addresses: addresses.map(String) })
    const found = this.answer(addresses)
    if (found === HANGS) {
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')))
      })
    }
    if (typeof found !== 'string') throw found
    return found
  }
}

const HANGS = new Error('hangs')

let network: Network
beforeEach(() => void vi.useFakeTimers())
afterEach(async () => {
  await network.dialler.stop()
  vi.useRealTimers()
})

describe('dialler', () => {
  it('dials a bootstrap node until it answers, ever more rarely but never rarer than 15 s', async () => {
    network = new Network(['/ip4/10.0.0.1/tcp/9101'])
    await network.dialler.start()
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS)
    const times = network.dials.map(({ at }) => at)
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
    expect(gaps[0]).toBeLessThanOrEqual(500)
    expect(gaps.at(-1)).toBeGreaterThan(gaps[0] ?? 0)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(15_100)
    expect(times.length).toBeGreaterThan(13)
    expect(times.length).toBeLessThan(120)
  })

  it('dials an expected peer with every address it knows and its identity', async () => {
    network = new Network()
    network.addresses = { [a]: ['/ip4/10.0.0.1/tcp/1', '/ip4/10.0.0.2/tcp/2'] }
    network.answer = () => {
      network.connected.add(a)
      return a
    }
    await network.dialler.start()
    await vi.advanceTimersByTimeAsync(MINUTE_MS)
    const expected = [`/ip4/10.0.0.1/tcp/1/p2p/${a}`, `/ip4/10.0.0.2/tcp/2/p2p/${a}`]
    expect(network.dials.map(({ addresses }) => addresses)).toEqual([expected])
  })

  it('leaves the entry alone that turned out to be the node itself', async () => {
    network = new Network(['/ip4/10.0.0.1/tcp/9101'])
    network.answer = () => Object.assign(new Error('self'), { name: 'InvalidPeerIdError' })
    await network.dialler.start()
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS)
    expect(network.dials).toHaveLength(1)
  })

  it('backs off from a peer that hangs up right after the handshake', async () => {
    network = new Network(['/ip4/10.0.0.1/tcp/9101'])
    network.answer = () => a
    await network.dialler.start()
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS)
    expect(network.dials.length).toBeLessThan(120)
  })

  it('comes back quickly to a peer that had said who it is', async () => {
    network = new Network(['/ip4/10.0.0.1/tcp/9101'])
    await network.dialler.start()
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS)
    network.answer = () => {
      network.connected.add(a)
      return a
    }
    await vi.advanceTimersByTimeAsync(MINUTE_MS)
    network.dialler.reached(a)
    const before = network.dials.length
    network.connected.delete(a)
    await vi.advanceTimersByTimeAsync(200)
    expect(network.dials).toHaveLength(before + 1)
  })

  it('has no more than eight dials in flight', async () => {
    const entries = Array.from({ length: 20 }, (_, n) => `/ip4/10.0.0.1/tcp/${9000 + n}`)
    network = new Network(entries)
    network.answer = () => HANGS
    await network.dialler.start()
    await vi.advanceTimersByTimeAsync(1000)
    expect(network.dials).toHaveLength(8)
  })

  it('stops at once, dials in flight included, and dials no more', async () => {
    network = new Network(['/ip4/10.0.0.1/tcp/9101'])
    network.answer = () => HANGS
    await network.dialler.start()
    await network.dialler.stop()
    await network.dialler.stop()
    await vi.advanceTimersByTimeAsync(MINUTE_MS)
    expect(network.dials).toHaveLength(1)
  })

  it('dials no peer that is no longer expected', async () => {
    network = new Network()
    network.addresses = { [a]: ['/ip4/10.0.0.1/tcp/1'], [b]: ['/ip4/10.0.0.2/tcp/2'] }
    await network.dialler.start()
    network.addresses = { [b]: ['/ip4/10.0.0.2/tcp/2'] }
    network.dials.length = 0
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS)
    expect(network.dials.length).toBeGreaterThan(0)
    expect(network.dials.some(({ addresses }) => addresses[0]?.includes(a))).toBe(false)
  })
})
