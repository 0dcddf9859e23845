import type { Clock } from '../clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import { PIN_PROTOCOL, pinAnswerSchema, type PinRequest } from './pin-protocol.ts'
import type { PinStore } from './pin-store.ts'

export interface PinSyncComponents {
  mesh: Pick<Mesh, 'request'>
  store: PinStore
  clock: Clock
}

/**
 * Learns from a peer what changed there since the last time. What a node missed while it was away
 * comes this way, from whichever peer has it.
 */
export class PinSync {
  readonly #components: PinSyncComponents
  /** How far each peer was followed. In memory: after a restart everything is compared once. */
  readonly #positions = new Map<string, { epoch: string; sequence: number }>()

  constructor(components: PinSyncComponents) {
    this.#components = components
  }

  async pull(peerId: string, signal?: AbortSignal): Promise<number> {
    const { mesh, store, clock } = this.#components
    store.purge(clock.now())
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
}
