import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'

import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { peerIdOf } from './addresses.ts'
import {
  DIAL_TIMEOUT_MS,
  DIALS_PARALLEL_MAX,
  RECONNECT_DELAY_MAX_MS,
  RECONNECT_DELAY_MIN_MS,
  RECONNECT_TICK_MS,
} from './constants.ts'

export interface DiallerComponents {
  log: Logger
  selfId: string
  /** Resolves to the peer id that was found at one of the addresses. */
  dial(addresses: Multiaddr[], signal: AbortSignal): Promise<string>
  /** Reaches the peer through another one, if there is one. */
  dialRelayed?(peerId: string, signal: AbortSignal): Promise<void>
  /** Directly: a peer that is reached through a relay is still dialled. */
  isConnected(peerId: string): boolean
  /** Peers that should be here, with what is known of their addresses. */
  expectedPeers(): readonly string[]
  addressesOf(peerId: string): readonly string[]
}

/** An entry of the bootstrap list. */
export interface BootstrapState {
  address: string
  /** Null until somebody was reached there. */
  peerId: string | null
  connected: boolean
  /** Why the last attempt failed. */
  lastError: string | null
}

interface Target {
  /** Unknown for a bootstrap entry without one until it was reached. */
  peerId: string | undefined
  addresses(): Multiaddr[]
  attempts: number
  nextAtMs: number
  dialling: boolean
  /** No address was known at the last attempt; the first one that is learnt is tried at once. */
  blind: boolean
  lastError: string | null
}

/**
 * Keeps the node connected: dials the bootstrap entries and every expected peer whose address is
 * known, for as long as they are not connected. The pause after a failure doubles from a quarter
 * of a second to ten seconds, with jitter so that a cluster that starts at once does not dial
 * in step. A connection counts as success only when the peer has said who it is (`reached`): one
 * that is refused right after the handshake backs off like one that is dead.
 */
export class Dialler implements Startable {
  readonly #components: DiallerComponents
  readonly #bootstrap: readonly Target[]
  readonly #peers = new Map<string, Target>()
  #running: { abort: AbortController; timer: NodeJS.Timeout; dials: Set<Promise<void>> } | undefined

  constructor(components: DiallerComponents, init: { bootstrap: readonly Multiaddr[] }) {
    this.#components = components
    this.#bootstrap = init.bootstrap.map((address) =>
      createTarget(peerIdOf(address), () => [address]),
    )
  }

  async start(): Promise<void> {
    if (this.#running) return
    const timer = setInterval(() => this.#tick(), RECONNECT_TICK_MS)
    this.#running = { abort: new AbortController(), timer, dials: new Set() }
    this.#tick()
  }

  /** Cuts dials in flight short and waits for them. */
  async stop(): Promise<void> {
    const running = this.#running
    if (!running) return
    this.#running = undefined
    clearInterval(running.timer)
    running.abort.abort()
    await Promise.all(running.dials)
  }

  /** The peer is here and has said who it is: the next loss starts with a short pause again. */
  reached(peerId: string): void {
    for (const target of this.#targets()) {
      if (target.peerId !== peerId) continue
      target.attempts = 0
      target.nextAtMs = 0
    }
  }

  bootstrap(): readonly BootstrapState[] {
    return this.#bootstrap
      .filter(({ peerId }) => peerId !== this.#components.selfId)
      .map((target) => {
        const { peerId = null, lastError } = target
        const [address = ''] = target.addresses().map(String)
        const connected = peerId !== null && this.#components.isConnected(peerId)
        return { address, peerId, connected, lastError: connected ? null : lastError }
      })
  }

  #targets(): Target[] {
    return [...this.#bootstrap, ...this.#peers.values()]
  }

  #tick(): void {
    const running = this.#running
    if (!running) return
    this.#refreshPeers()
    for (const target of this.#targets()) {
      if (running.dials.size >= DIALS_PARALLEL_MAX) return
      if (!this.#isDue(target)) continue
      const dial = this.#dial(target, running.abort.signal).finally(() => {
        running.dials.delete(dial)
      })
      running.dials.add(dial)
    }
  }

  #refreshPeers(): void {
    const expected = new Set(this.#components.expectedPeers())
    for (const peerId of this.#peers.keys()) {
      if (!expected.has(peerId)) this.#peers.delete(peerId)
    }
    for (const peerId of expected) {
      if (this.#peers.has(peerId)) continue
      const addresses = (): Multiaddr[] =>
        this.#components.addressesOf(peerId).map((text) => multiaddr(`${text}/p2p/${peerId}`))
      this.#peers.set(peerId, createTarget(peerId, addresses))
    }
  }

  #isDue(target: Target): boolean {
    const { peerId } = target
    if (target.dialling || !this.#isPauseOver(target)) return false
    if (peerId === undefined) return true
    return peerId !== this.#components.selfId && !this.#components.isConnected(peerId)
  }

  async #dial(target: Target, signal: AbortSignal): Promise<void> {
    const addresses = target.addresses()
    if (target.blind && addresses.length > 0) target.attempts = 0
    target.blind = addresses.length === 0
    target.dialling = true
    try {
      const isThere = await this.#dialDirect(target, addresses, signal)
      if (!isThere) await this.#dialRelayed(target, signal)
    } finally {
      target.dialling = false
      target.nextAtMs = Date.now() + pauseAfter(target.attempts)
      target.attempts += 1
    }
  }

  async #dialDirect(target: Target, addresses: Multiaddr[], signal: AbortSignal): Promise<boolean> {
    if (addresses.length === 0) return false
    try {
      target.peerId = await this.#components.dial(addresses, withLimit(signal))
      target.lastError = null
      return true
    } catch (error) {
      if (signal.aborted) return true
      target.lastError = reasonOf(error)
      if (isDialToSelf(error)) target.peerId = this.#components.selfId
      this.#components.log.debug({ err: error, addresses: addresses.map(String) }, 'dial failed')
      return false
    }
  }

  async #dialRelayed({ peerId }: Target, signal: AbortSignal): Promise<void> {
    const { selfId, log } = this.#components
    if (peerId === undefined || peerId === selfId) return
    try {
      await this.#components.dialRelayed?.(peerId, withLimit(signal))
    } catch (error) {
      if (!signal.aborted) log.debug({ err: error, peerId }, 'dial through relays failed')
    }
  }

  #isPauseOver(target: Target): boolean {
    if (Date.now() >= target.nextAtMs) return true
    return target.blind && target.addresses().length > 0
  }
}

function createTarget(peerId: string | undefined, addresses: () => Multiaddr[]): Target {
  return {
    peerId,
    addresses,
    attempts: 0,
    nextAtMs: 0,
    dialling: false,
    blind: false,
    lastError: null,
  }
}

function withLimit(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)])
}

/** Of several addresses the first one's; an error of the network is its code. */
function reasonOf(error: unknown): string {
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error
  if (!(inner instanceof Error)) return String(inner)
  return 'code' in inner ? String(inner.code) : inner.message
}

/** Half to one and a half times the doubled pause. */
function pauseAfter(attempts: number): number {
  const doubled = Math.min(RECONNECT_DELAY_MAX_MS, RECONNECT_DELAY_MIN_MS * 2 ** attempts)
  return doubled * (0.5 + Math.random())
}

/** Every node may be given the same bootstrap list, so one entry of it is the node itself. */
function isDialToSelf(error: unknown): boolean {
  return error instanceof Error && error.name === 'InvalidPeerIdError'
}
