import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { Clock } from '../clock.ts'
import { decodeMessage, encodeMessage } from '../lifetime/message.ts'
import type { Mesh } from '../mesh/mesh.ts'
import {
  DIRECT_PEERS_MAX,
  DIRECT_TIMEOUT_MS,
  PROVIDE_RETRY_MS,
  PROVIDED_CAPABILITIES_MAX,
  PROVIDED_ROOTS_MAX,
  PROVIDER_KEYS_PER_MESSAGE_MAX,
  PROVIDES_AT_ONCE,
  REPROVIDE_AFTER_MS,
  REPROVIDE_PAGE,
  REPROVIDE_TICK_MS,
} from './constants.ts'
import type { DHT } from './dht.ts'
import type { ProviderKey } from './keys.ts'
import { ProvideQueue } from './provide-queue.ts'
import { createProviderMetrics, type ProviderMetrics } from './provider-metrics.ts'
import {
  PROVIDER_PROTOCOL,
  providerAnswerSchema,
  providerRequestSchema,
  type ProviderAnswer,
  type ProviderRequest,
} from './provider-protocol.ts'
import type { ProviderStore } from './provider-store.ts'

export interface ProviderComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers' | 'request' | 'handle' | 'on'>
  dht: Pick<DHT, 'provide' | 'withdraw' | 'providersHere' | 'findProviders'>
  store: ProviderStore
  log: Logger
  registry: Registry
  clock: Clock
}

interface FindOptions {
  signal?: AbortSignal
}

/**
 * Announces what this node provides (roots it holds, capabilities of its agents) and finds who
 * provides something. What is announced is written down, so that it is announced again before the
 * table forgets it, over restarts too. Without peers nothing is announced and nothing is lost.
 */
export class Provider implements Startable {
  readonly #components: ProviderComponents
  readonly #log: Logger
  readonly #metrics: ProviderMetrics
  readonly #queue = new ProvideQueue()
  readonly #withdrawn = new Set<ProviderKey>()
  #controller: AbortController | undefined
  #tasks: Promise<unknown>[] = []
  #wakers = new Set<() => void>()

  constructor(components: ProviderComponents) {
    this.#components = components
    this.#log = components.log.child({ component: 'provider' })
    const { registry, store, mesh } = components
    const waiting = (): number => this.#queue.size
    this.#metrics = createProviderMetrics(registry, { store, waiting })
    mesh.handle(PROVIDER_PROTOCOL, ({ payload, peerId }) => {
      const request = decodeMessage(providerRequestSchema, payload)
      return Promise.resolve(encodeMessage(this.#answer(request, peerId)))
    })
    mesh.on('join', () => this.#wake())
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    const { signal } = this.#controller
    const workers = Array.from({ length: PROVIDES_AT_ONCE }, () => this.#work(signal))
    // What others keep of an earlier run may be gone with them: everything is due once.
    this.#tasks = [...workers, this.#refill(signal)]
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    this.#wake()
    await Promise.allSettled(this.#tasks)
    this.#tasks = []
  }

  /** From now on and until it is withdrawn. False when this node announces too much already. */
  provide(key: ProviderKey): boolean {
    const { store } = this.#components
    if (store.has(key)) return true
    const isRoot = key.startsWith('root/')
    const most = isRoot ? PROVIDED_ROOTS_MAX : PROVIDED_CAPABILITIES_MAX
    if (store.count(isRoot ? 'root' : 'capability') >= most) {
      this.#metrics.provides.inc({ result: 'refused' })
      return false
    }
    store.add(key)
    this.#withdrawn.delete(key)
    this.#queue.add(key)
    this.#wake()
    return true
  }

  provides(key: ProviderKey): boolean {
    return this.#components.store.has(key)
  }

  /** Peers that are here forget it at once, others when its time is over. */
  withdraw(key: ProviderKey): void {
    const { store, dht, mesh } = this.#components
    if (!store.remove(key)) return
    this.#queue.delete(key)
    dht.withdraw(key, mesh.self.peerId)
    this.#metrics.withdrawals.inc()
    this.#withdrawn.add(key)
    this.#wake()
  }

  /**
   * Other nodes that provide the key, each once, the quickest road first: what this node's part of
   * the table says, then everybody connected where they are few, then the table. Who said no when
   * asked is left out, whatever the table says.
   */
  async *findProviders(key: ProviderKey, { signal }: FindOptions = {}): AsyncIterable<string> {
    const { mesh, dht } = this.#components
    const seen = new Set([mesh.self.peerId])
    const fresh = (peerId: string): boolean => !seen.has(peerId) && seen.add(peerId) !== undefined
    let road: 'own' | 'peers' | 'table' | 'none' = 'none'
    try {
      for (const peerId of dht.providersHere(key)) {
        if (!fresh(peerId)) continue
        road = 'own'
        yield peerId
      }
      const asked = await this.#askConnected(key, signal)
      for (const peerId of asked.yes) {
        if (!fresh(peerId)) continue
        if (road === 'none') road = 'peers'
        yield peerId
      }
      // Everybody there is has answered.
      if (asked.isWhole) return
      for (const peerId of asked.no) seen.add(peerId)
      for await (const peerId of dht.findProviders(key, signal ? { signal } : {})) {
        if (!fresh(peerId)) continue
        if (road === 'none') road = 'table'
        yield peerId
      }
    } finally {
      this.#metrics.lookups.inc({ road })
    }
  }

  async #askConnected(key: ProviderKey, signal?: AbortSignal) {
    const { mesh } = this.#components
    const peers = mesh.peers()
    if (peers.length > DIRECT_PEERS_MAX) return { yes: [], no: [], isWhole: false }
    const options = { timeoutMs: DIRECT_TIMEOUT_MS, ...(signal && { signal }) }
    const answers = await Promise.allSettled(
      peers.map(async ({ peerId }) => {
        const { keys } = await this.#ask(peerId, { op: 'have', keys: [key] }, options)
        return { peerId, has: keys.includes(key) }
      }),
    )
    signal?.throwIfAborted()
    const told = answers.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    return {
      yes: told.filter(({ has }) => has).map(({ peerId }) => peerId),
      no: told.filter(({ has }) => !has).map(({ peerId }) => peerId),
      isWhole: told.length === peers.length && peers.length >= mesh.expectedPeers().length,
    }
  }

  #answer(request: ProviderRequest, peerId: string): ProviderAnswer {
    const { store, dht } = this.#components
    if (request.op === 'have') return { keys: request.keys.filter((key) => store.has(key)) }
    for (const key of request.keys) dht.withdraw(key, peerId)
    return { keys: [] }
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#components.mesh.peers().length === 0) {
        // Nobody to be told of a withdrawal either: whoever comes has to ask.
        this.#withdrawn.clear()
        await this.#sleep(REPROVIDE_TICK_MS, signal)
        continue
      }
      if (this.#withdrawn.size > 0) await this.#tellWithdrawn(signal)
      const next = this.#queue.next(this.#components.clock.now())
      if ('waitMs' in next) await this.#sleep(Math.min(next.waitMs, REPROVIDE_TICK_MS), signal)
      else await this.#announce(next.key, signal)
    }
  }

  async #announce(key: ProviderKey, signal: AbortSignal): Promise<void> {
    const { dht, store, mesh, clock } = this.#components
    try {
      await dht.provide(key, { signal })
      this.#metrics.provides.inc({ result: 'ok' })
      // Withdrawn while it was on its way: it has to be told again.
      if (store.has(key)) store.mark(key, clock.now())
      else {
        dht.withdraw(key, mesh.self.peerId)
        this.#withdrawn.add(key)
      }
    } catch (error) {
      if (signal.aborted) return
      this.#metrics.provides.inc({ result: 'failed' })
      this.#log.debug({ err: error, key }, 'announcement failed, tried again later')
      await clock.sleep(PROVIDE_RETRY_MS, signal).catch(() => undefined)
      if (store.has(key)) this.#queue.add(key)
    }
  }

  async #tellWithdrawn(signal: AbortSignal): Promise<void> {
    const keys = [...this.#withdrawn].slice(0, PROVIDER_KEYS_PER_MESSAGE_MAX)
    for (const key of keys) this.#withdrawn.delete(key)
    const options = { timeoutMs: DIRECT_TIMEOUT_MS, signal }
    const told = this.#components.mesh
      .peers()
      .map(({ peerId }) => this.#ask(peerId, { op: 'withdraw', keys }, options))
    // Who does not hear it forgets it in time, and says who is asked that it is so no longer.
    await Promise.allSettled(told)
  }

  /** Takes up what is due: all that was announced before this start, then what has grown old. */
  async #refill(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#components
    const startedMs = clock.now() - 1
    while (!signal.aborted) {
      const beforeMs = Math.max(startedMs, clock.now() - REPROVIDE_AFTER_MS)
      for (const key of store.due(beforeMs, REPROVIDE_PAGE)) this.#queue.add(key)
      this.#wake()
      await clock.sleep(REPROVIDE_TICK_MS, signal).catch(() => undefined)
    }
  }

  async #ask(
    peerId: string,
    request: ProviderRequest,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<ProviderAnswer> {
    const payload = encodeMessage(request)
    const answer = await this.#components.mesh.request(peerId, PROVIDER_PROTOCOL, payload, options)
    return decodeMessage(providerAnswerSchema, answer)
  }

  #wake(): void {
    for (const wake of this.#wakers) wake()
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const awake = new AbortController()
    const wake = (): void => awake.abort()
    this.#wakers.add(wake)
    const either = AbortSignal.any([signal, awake.signal])
    await this.#components.clock.sleep(ms, either).catch(() => undefined)
    this.#wakers.delete(wake)
  }
}
