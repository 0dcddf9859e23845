import { PeerUnreachableError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import { recordHash } from '../../shared/record/record.ts'
import type { Mesh } from '../mesh/mesh.ts'
import {
  COMPARE_INTERVAL_MS,
  COMPARE_RETRY_MS,
  COMPARE_TIMEOUT_MS,
  TIPS_PER_FRAME_MAX,
} from './constants.ts'
import type { RecordLookup } from './record-lookup.ts'
import type { RecordPeers } from './record-peers.ts'
import type { RecordStore, Tip } from './record-store.ts'

export interface RecordSyncComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'on' | 'expectedPeers'>
  store: RecordStore
  peers: RecordPeers
  lookup: RecordLookup
  log: Logger
}

/**
 * Compares the ends of chains with peers: when one joins and every so often, so that a node which
 * was away learns what it missed. From the moment a peer joins until the comparison with it has
 * ended well, a node asks the holders even for what it has.
 */
export class RecordSync implements Startable {
  readonly #components: RecordSyncComponents
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined
  readonly #pending = new Set<string>()
  /** Peers that did not answer the last comparison to its end. */
  readonly #failed = new Set<string>()
  #fetching: Promise<unknown> | undefined

  constructor(components: RecordSyncComponents) {
    this.#components = components
    components.mesh.on('join', (peer) => {
      components.lookup.setCaughtUp(false)
      this.#pending.add(peer.peerId)
      this.#wake()
    })
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    const { mesh, lookup } = this.#components
    this.#controller = new AbortController()
    lookup.setCaughtUp(mesh.expectedPeers().length === 0)
    for (const peer of mesh.peers()) this.#pending.add(peer.peerId)
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    this.#wake()
    await this.#loop
    await this.#fetching
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { lookup } = this.#components
    while (!signal.aborted) {
      if (this.#pending.size === 0) await this.#sleep(signal)
      const peerIds = [...this.#pending]
      this.#pending.clear()
      for (const peerId of peerIds) await this.#compare(peerId, signal)
      const isDone = this.#pending.size === 0 && this.#failed.size === 0
      if (isDone && peerIds.length > 0) lookup.setCaughtUp(true)
    }
  }

  /** A record has come that settles ends: those that are not here are fetched soon. */
  fetchMerged(): void {
    const signal = this.#controller?.signal
    if (!signal || this.#fetching) return
    const fetched = this.#components.lookup.fetchMerged(signal).catch(() => undefined)
    this.#fetching = fetched.finally(() => (this.#fetching = undefined))
  }

  /**
   * Until woken or, at the latest, the interval is over: then everybody is compared again, and long
   * before that those with whom it failed.
   */
  async #sleep(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    let timer: NodeJS.Timeout | undefined
    const isRetry = this.#failed.size > 0
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(
        () => {
          for (const { peerId } of this.#components.mesh.peers()) {
            if (!isRetry || this.#failed.has(peerId)) this.#pending.add(peerId)
          }
          this.#failed.clear()
          resolve()
        },
        isRetry ? COMPARE_RETRY_MS : COMPARE_INTERVAL_MS,
      )
    })
    clearTimeout(timer)
  }

  async #compare(peerId: string, signal: AbortSignal): Promise<void> {
    const { log } = this.#components
    try {
      const learnt = await this.#pull(peerId, signal)
      await this.#components.lookup.fetchMerged(signal)
      if (learnt > 0) log.info({ peerId, learnt }, 'caught up with a peer')
    } catch (error) {
      this.#failed.add(peerId)
      if (!signal.aborted) log.debug({ peerId, err: error }, 'comparison with a peer failed')
    }
  }

  /** Fetches the ends of chains that are new here, forks included, and what lies below them. */
  async #pull(peerId: string, signal: AbortSignal): Promise<number> {
    const { peers, store, lookup, mesh } = this.#components
    let learnt = 0
    let after: Tip | undefined
    for (;;) {
      signal.throwIfAborted()
      const { tips = [] } = await peers.ask(
        peerId,
        { op: 'tips', ...(after && { after }) },
        { signal, timeoutMs: COMPARE_TIMEOUT_MS },
      )
      for (const { name, hash } of tips) {
        if (store.byHash(hash) || !peers.holders(name).includes(mesh.self.peerId)) continue
        const [answer] = await peers.gather([peerId], { op: 'record', hash }, signal)
        if (!answer) throw new PeerUnreachableError('The peer did not give a record in time.')
        const [record] = answer.records
        if (!record || recordHash(record) !== hash) continue
        await lookup.learn(record, peerId, signal)
        learnt += 1
      }
      if (tips.length < TIPS_PER_FRAME_MAX) return learnt
      after = tips.at(-1)
    }
  }
}
