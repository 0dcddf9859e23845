import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { COMPARE_INTERVAL_MS } from './constants.ts'

export interface PeerFollowerComponents {
  mesh: Pick<Mesh, 'peers' | 'on'>
  log: Logger
  /** Takes over what is new at a peer; resolves with how much that was. */
  pull: (peerId: string, signal: AbortSignal) => Promise<number>
}

/** Pulls from every peer, one at a time: when it joins and every so often. */
export class PeerFollower implements Startable {
  readonly #components: PeerFollowerComponents
  readonly #what: string
  readonly #pending = new Set<string>()
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined

  constructor(components: PeerFollowerComponents, init: { what: string }) {
    this.#components = components
    this.#what = init.what
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

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [peerId] = this.#pending
      if (peerId === undefined) {
        await this.#sleep()
        continue
      }
      this.#pending.delete(peerId)
      await this.#follow(peerId, signal)
    }
  }

  async #follow(peerId: string, signal: AbortSignal): Promise<void> {
    const { pull, log } = this.#components
    const what = this.#what
    try {
      const learnt = await pull(peerId, signal)
      if (learnt > 0) log.info({ peerId, what, learnt }, 'learnt from a peer')
    } catch (error) {
      if (!signal.aborted) log.debug({ peerId, what, err: error }, 'learnt nothing from a peer')
    }
  }

  /** Until woken or, at the latest, the interval is over: then everybody is asked again. */
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
