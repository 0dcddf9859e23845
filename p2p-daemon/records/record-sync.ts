import type { Logger } from '../../shared/log/log.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { COMPARE_INTERVAL_MS, NAMES_PER_FRAME_MAX } from './constants.ts'
import type { RecordLookup } from './record-lookup.ts'
import type { RecordPeers } from './record-peers.ts'
import type { RecordStore } from './record-store.ts'

export interface RecordSyncComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'on' | 'expectedPeers'>
  store: RecordStore
  peers: RecordPeers
  lookup: RecordLookup
  log: Logger
}

/**
 * Compares heads with peers: when one joins and every so often, so that a node which was away
 * learns what it missed. From the moment a peer joins until the comparison with it has ended, a
 * node asks the holders even for what it has.
 */
export class RecordSync implements Startable {
  readonly #components: RecordSyncComponents
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined
  readonly #pending = new Set<string>()

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
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { lookup } = this.#components
    while (!signal.aborted) {
      if (this.#pending.size === 0) await this.#sleep(signal)
      const peerIds = [...this.#pending]
      this.#pending.clear()
      for (const peerId of peerIds) await this.#compare(peerId, signal)
      if (this.#pending.size === 0 && peerIds.length > 0) lookup.setCaughtUp(true)
    }
  }

  /** Until woken or, at the latest, the interval is over: then everybody is compared again. */
  async #sleep(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(() => {
        for (const peer of this.#components.mesh.peers()) this.#pending.add(peer.peerId)
        resolve()
      }, COMPARE_INTERVAL_MS)
    })
    clearTimeout(timer)
  }

  async #compare(peerId: string, signal: AbortSignal): Promise<void> {
    const { log } = this.#components
    try {
      const learnt = await this.#pull(peerId, signal)
      if (learnt > 0) log.info({ peerId, learnt }, 'caught up with a peer')
    } catch (error) {
      if (!signal.aborted) log.debug({ peerId, err: error }, 'comparison with a peer failed')
    }
  }

  async #pull(peerId: string, signal: AbortSignal): Promise<number> {
    const { peers, store, lookup, mesh } = this.#components
    let learnt = 0
    let after = ''
    for (;;) {
      signal.throwIfAborted()
      const { names = [] } = await peers.ask(peerId, { op: 'heads', after }, { signal })
      for (const { name, version } of names) {
        const here = store.head(name)?.version ?? 0
        if (here >= version || !peers.holders(name).includes(mesh.self.peerId)) continue
        await lookup.head(name, { fresh: true, signal })
        learnt += 1
      }
      if (names.length < NAMES_PER_FRAME_MAX) return learnt
      after = names.at(-1)!.name
    }
  }
}
