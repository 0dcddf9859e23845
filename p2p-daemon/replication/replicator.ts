import { REPLICAS } from '../../shared/limits.ts'
import type { Mesh, RequestHandler } from '../mesh/mesh.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobTransfer } from '../transfer/blob-transfer.ts'
import {
  HAVE_TIMEOUT_MS,
  PULLS_MAX,
  PULLS_WAITING_MAX,
  RECEIVE_BASE_TIMEOUT_MS,
  RECEIVE_BYTES_PER_SECOND_MIN,
} from './constants.ts'
import { place, type StorageNode } from './placement.ts'
import {
  decodeAnswer,
  decodeRequest,
  encodeMessage,
  REPLICATION_PROTOCOL,
  type ReplicationRequest,
} from './replication-protocol.ts'
import { Semaphore } from './semaphore.ts'

export interface ReplicatorComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers' | 'request'>
  store: BlobStore
  transfer: Pick<BlobTransfer, 'fetch'>
}

/** Knows who should hold a blob, brings it there, and fetches it from there. */
export class Replicator {
  readonly #components: ReplicatorComponents
  readonly #pulls = new Map<string, Promise<boolean>>()
  readonly #slots = new Semaphore({ running: PULLS_MAX, waiting: PULLS_WAITING_MAX })

  constructor(components: ReplicatorComponents) {
    this.#components = components
  }

  /** Where the blob belongs among the nodes that are here. */
  holders(hash: string): string[] {
    const { mesh } = this.#components
    const nodes: StorageNode[] = [mesh.self, ...mesh.peers()].filter((node) => node.storage)
    return place(nodes, hash, REPLICAS).map((node) => node.peerId)
  }

  /** Copies that could exist if every node of the allow-list were here. */
  copiesPossible(): number {
    return Math.min(REPLICAS, 1 + this.#components.mesh.expectedPeers().length)
  }

  /** Asks `peerId` to pull the blob from here; resolves once it holds it durably. */
  async push(
    peerId: string,
    blob: { hash: string; sizeBytes: number },
    signal?: AbortSignal,
  ): Promise<void> {
    const transferMs = Math.ceil((blob.sizeBytes / RECEIVE_BYTES_PER_SECOND_MIN) * 1000)
    const timeoutMs = RECEIVE_BASE_TIMEOUT_MS + transferMs
    await this.#ask(peerId, { op: 'hold', ...blob }, timeoutMs, signal)
  }

  /** Size of the blob at a peer, or null when it does not hold it. */
  have(peerId: string, hash: string, signal?: AbortSignal): Promise<number | null> {
    return this.#ask(peerId, { op: 'have', hash }, HAVE_TIMEOUT_MS, signal)
  }

  /**
   * Brings a blob here from whoever has it: its holders in order, then every connected peer.
   * Several readers of one blob share one pull. False when nobody has it.
   */
  pull(hash: string, signal?: AbortSignal): Promise<boolean> {
    const { mesh } = this.#components
    const others = mesh.peers().map((peer) => peer.peerId)
    const sources = [...new Set([...this.holders(hash), ...others])]
    return this.#pullFrom(sources, hash, signal)
  }

  /** Answers peers that ask whether this node has a blob or tell it to hold one. */
  createServer(): RequestHandler {
    return async ({ peerId, payload, signal }) => {
      const request = decodeRequest(payload)
      const { store } = this.#components
      if (request.op === 'hold') await this.#pullFrom([peerId], request.hash, signal)
      const stat = await store.stat(request.hash)
      return encodeMessage({ sizeBytes: stat?.sizeBytes ?? null })
    }
  }

  async #ask(
    peerId: string,
    request: ReplicationRequest,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<number | null> {
    const { mesh } = this.#components
    const options = { timeoutMs, ...(signal && { signal }) }
    const payload = encodeMessage(request)
    const answer = await mesh.request(peerId, REPLICATION_PROTOCOL, payload, options)
    return decodeAnswer(answer).sizeBytes
  }

  #pullFrom(sources: string[], hash: string, signal?: AbortSignal): Promise<boolean> {
    const running = this.#pulls.get(hash)
    if (running) return running
    const pull = this.#slots
      .run(() => this.#tryEach(sources, hash, signal))
      .finally(() => this.#pulls.delete(hash))
    this.#pulls.set(hash, pull)
    return pull
  }

  async #tryEach(sources: string[], hash: string, signal?: AbortSignal): Promise<boolean> {
    const { mesh, store, transfer } = this.#components
    if (await store.stat(hash)) return true
    let lastError: unknown
    for (const peerId of sources) {
      if (peerId === mesh.self.peerId) continue
      signal?.throwIfAborted()
      try {
        const options = signal ? { signal } : {}
        if ((await this.have(peerId, hash, signal)) === null) continue
        const remote = await transfer.fetch(peerId, hash, options)
        await store.put(remote.body, { expectedHash: hash, ...options })
        return true
      } catch (error) {
        lastError = error
      }
    }
    if (lastError) throw lastError
    return false
  }
}
