import type { AddressRecord } from '../../shared/record/record.ts'
import { REPLICAS } from '../../shared/limits.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { requireMajority } from '../mesh/partition.ts'
import { OWNERSHIP_NAME } from '../ownership/constants.ts'
import { place, rank, type StorageNode } from '../replication/placement.ts'
import { PEER_ANSWER_TIMEOUT_MS } from './constants.ts'
import {
  decodeAnswer,
  encodeMessage,
  RECORD_PROTOCOL,
  recordFromText,
  type RecordAnswer,
  type RecordRequest,
} from './record-protocol.ts'

/** Asking peers about records: who holds an address, and what they say. */
export class RecordPeers {
  readonly #mesh: Pick<Mesh, 'self' | 'peers' | 'request' | 'expectedPeers'>

  constructor(components: { mesh: Pick<Mesh, 'self' | 'peers' | 'request' | 'expectedPeers'> }) {
    this.#mesh = components.mesh
  }

  /** Storage nodes that are here now, this one included. */
  nodes(): StorageNode[] {
    return [this.#mesh.self, ...this.#mesh.peers()].filter((node) => node.storage)
  }

  /** The nodes that keep the records of an address, this one possibly among them. */
  holders(name: string): string[] {
    // Every node has to judge by the policy, so every one keeps it.
    const copies = name === OWNERSHIP_NAME ? Number.MAX_SAFE_INTEGER : REPLICAS
    return place(this.nodes(), name, copies).map((node) => node.peerId)
  }

  /** Who orders the writes of an address: the first of the rank that is here, then the next. */
  coordinators(name: string): string[] {
    return rank(this.nodes(), name).map((node) => node.peerId)
  }

  /** Copies that could exist if every node of the allow-list were here. */
  copiesPossible(): number {
    return Math.min(REPLICAS, 1 + this.#mesh.expectedPeers().length)
  }

  /** @throws PartitionMinorityError while most of the allow-list is out of reach */
  requireMajority(): void {
    requireMajority(this.#mesh)
  }

  /** Peers of the allow-list, here or not. */
  expected(): number {
    return this.#mesh.expectedPeers().length
  }

  others(): string[] {
    return this.#mesh.peers().map((peer) => peer.peerId)
  }

  async ask(
    peerId: string,
    request: RecordRequest,
    options: { signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<RecordAnswer> {
    const answer = await this.#mesh.request(peerId, RECORD_PROTOCOL, encodeMessage(request), {
      timeoutMs: options.timeoutMs ?? PEER_ANSWER_TIMEOUT_MS,
      ...(options.signal && { signal: options.signal }),
    })
    return decodeAnswer(answer)
  }

  /**
   * Asks several peers at once and gathers the records of those that answer in time. A peer that
   * is away, slow or talks nonsense contributes nothing.
   */
  async gather(
    peerIds: readonly string[],
    request: RecordRequest,
    signal?: AbortSignal,
  ): Promise<{ peerId: string; answer: RecordAnswer; records: AddressRecord[] }[]> {
    const asked = peerIds
      .filter((peerId) => peerId !== this.#mesh.self.peerId)
      .map(async (peerId) => {
        const answer = await this.ask(peerId, request, signal ? { signal } : {})
        return { peerId, answer, records: (answer.records ?? []).map(recordFromText) }
      })
    const settled = await Promise.allSettled(asked)
    return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  }
}
