import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Clock } from '../clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { COMPARE_INTERVAL_MS } from './constants.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import { PIN_PROTOCOL, pinAnswerSchema, type PinRequest } from './pin-protocol.ts'
import type { PinStore } from './pin-store.ts'

export interface PinSyncComponents {
  mesh: Pick<Mesh, 'peers' | 'request' | 'on'>
  store: PinStore
  clock: Clock
  log: Logger
}

interface Position {
  epoch: string
  sequence: number
}

/**
 * Learns from every peer what changed there: when it joins and every so often. What a node missed
 * while it was away comes this way, from whichever peer has it.
 */
export class PinSync implements Startable {
  readonly #components: PinSyncComponents
  /** How far each peer was followed. In memory: after a restart everything is compared once. */
  readonly #positions = new Map<string, Position>()
  readonly #pending = new Set<string>()
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined

  constructor(components: PinSyncComponents) {
    this.#components = components
    components.mesh.on('join', (peer) => {
      this.#pending.add(peer.peerId)
      this.#wake()
    })
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#askAll()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    this.#wake()
    await this.#loop
  }

  /** Everything one peer has that is new since the last time. */
  async pull(peerId: string, signal?: AbortSignal): Promise<number> {
    const { mesh, store, clock } = this.#components
    let position = this.#positions.get(peerId) ?? { epoch: '', sequence: 0 }
    let learnt = 0
    for (let more = true; more;) {
      signal?.throwIfAborted()
      const request: PinRequest = { op: 'since', ...position }
      const options = signal ? { signal } : {}
      const bytes = await mesh.request(peerId, PIN_PROTOCOL, encodeMessage(request), options)
      const answer = decodeMessage(pinAnswerSchema, bytes)
      for (const claim of answer.claims) if (store.apply(claim, clock.now())) learnt += 1
      position = { epoch: answer.epoch, sequence: answer.sequence }
      this.#positions.set(peerId, position)
      more = answer.more && answer.claims.length > 0
    }
    return learnt
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [peerId] = this.#pending
      if (peerId === undefined) {
        this.#components.store.purge(this.#components.clock.now())
        await this.#sleep()
        continue
      }
      this.#pending.delete(peerId)
      await this.#tryPull(peerId, signal)
    }
  }

  async #tryPull(peerId: string, signal: AbortSignal): Promise<void> {
    const { log } = this.#components
    try {
      const learnt = await this.pull(peerId, signal)
      if (learnt > 0) log.info({ peerId, learnt }, 'learnt pins and leases from a peer')
    } catch (error) {
      if (!signal.aborted) log.debug({ peerId, err: error }, 'pins were not compared with a peer')
    }
  }

  async #sleep(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(() => {
        this.#askAll()
        resolve()
      }, COMPARE_INTERVAL_MS)
    })
    clearTimeout(timer)
  }

  #askAll(): void {
    for (const peer of this.#components.mesh.peers()) this.#pending.add(peer.peerId)
  }
}
