import { LRUCache } from 'lru-cache'

import { REPLICAS } from '../../shared/limits.ts'
import type { Clock } from '../clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { place } from '../replication/placement.ts'
import type { BlobStat, BlobStore } from '../store/blob-store.ts'
import { GRACE_SHARE, TOUCH_TIMEOUT_MS, TOUCHED_MAX } from './constants.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import { ROOT_PROTOCOL, touchAnswerSchema, type RootRequest } from './root-protocol.ts'

export interface RetentionComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'request'>
  store: Pick<BlobStore, 'touch'>
  clock: Clock
}

/**
 * Makes a blob that is there already safe to refer to. A put starts the grace of the blob anew on
 * every node that acknowledged it; who refers to a blob without putting it has to ask for the same,
 * or its copies might be swept between the look and the record.
 */
export class Retention {
  readonly #components: RetentionComponents
  /** Touched on their holders a short while ago, so the usual put and record cost no question. */
  readonly #touched: LRUCache<string, BlobStat>

  constructor(components: RetentionComponents, init: { graceMs: number }) {
    this.#components = components
    const ttl = Math.max(Math.floor(init.graceMs * GRACE_SHARE), 1)
    const perf = components.clock
    this.#touched = new LRUCache({ max: TOUCHED_MAX, ttl, ttlResolution: 0, perf })
  }

  /** The holders acknowledged a put of this blob. */
  note(blob: BlobStat): void {
    this.#touched.set(blob.hash, { hash: blob.hash, sizeBytes: blob.sizeBytes })
  }

  /**
   * Touches the copies of a blob: here and at its holders, or where else it is when none of these
   * has it. Undefined when nobody who answers has it.
   */
  async retain(hash: string, signal?: AbortSignal): Promise<BlobStat | undefined> {
    const known = this.#touched.get(hash)
    if (known) return known
    const { mesh, store } = this.#components
    const nodes = [mesh.self, ...mesh.peers()].filter((node) => node.storage)
    const holders = place(nodes, hash, REPLICAS).map((node) => node.peerId)
    const [here, there] = await Promise.all([
      store.touch(hash),
      this.#touchAt(holders, hash, signal),
    ])
    const others = mesh.peers().map((peer) => peer.peerId)
    const rest = others.filter((peerId) => !holders.includes(peerId))
    const found = here ?? there ?? (await this.#touchAt(rest, hash, signal))
    if (found) this.note(found)
    return found
  }

  async #touchAt(
    peerIds: readonly string[],
    hash: string,
    signal?: AbortSignal,
  ): Promise<BlobStat | undefined> {
    const { mesh } = this.#components
    const request: RootRequest = { op: 'touch', hash }
    const options = { timeoutMs: TOUCH_TIMEOUT_MS, ...(signal && { signal }) }
    const asked = peerIds
      .filter((peerId) => peerId !== mesh.self.peerId)
      .map(async (peerId) => {
        const bytes = await mesh.request(peerId, ROOT_PROTOCOL, encodeMessage(request), options)
        return decodeMessage(touchAnswerSchema, bytes).sizeBytes
      })
    // A holder that does not answer is not counted on: its copy may go, those touched may not.
    const answers = await Promise.allSettled(asked)
    const sizes = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : null))
    const sizeBytes = sizes.find((size) => size !== null)
    return sizeBytes === undefined ? undefined : { hash, sizeBytes }
  }
}
