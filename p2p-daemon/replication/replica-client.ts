import { ProtocolViolationError, StorageUnavailableError } from '../../shared/errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { BlobStat } from '../store/blob-store.ts'
import {
  HAVE_TIMEOUT_MS,
  RECEIVE_BASE_TIMEOUT_MS,
  RECEIVE_BYTES_PER_SECOND_MIN,
  WHICH_HASHES_MAX,
} from './constants.ts'
import {
  decodeAnswer,
  encodeMessage,
  REPLICATION_PROTOCOL,
  type ReplicationAnswer,
  type ReplicationRequest,
} from './replication-protocol.ts'

/** Longest time in which a peer must have pulled a blob of this size. */
export function receiveTimeoutMs(sizeBytes: number, baseMs = RECEIVE_BASE_TIMEOUT_MS): number {
  return baseMs + Math.ceil((sizeBytes / RECEIVE_BYTES_PER_SECOND_MIN) * 1000)
}

/** Asks peers about copies. Whatever they throw or leave unanswered is thrown here. */
export class ReplicaClient {
  readonly #mesh: Pick<Mesh, 'request'>
  readonly #receiveBaseTimeoutMs: number

  constructor(
    components: { mesh: Pick<Mesh, 'request'> },
    init: { receiveBaseTimeoutMs?: number } = {},
  ) {
    this.#mesh = components.mesh
    this.#receiveBaseTimeoutMs = init.receiveBaseTimeoutMs ?? RECEIVE_BASE_TIMEOUT_MS
  }

  /** Size of the blob at a peer, or null when it does not hold it. */
  have(peerId: string, hash: string, signal?: AbortSignal): Promise<number | null> {
    return this.#size(peerId, { op: 'have', hash }, HAVE_TIMEOUT_MS, signal)
  }

  /** Whether the peer holds the blob and promises to keep it for PROMISE_MS. */
  async keep(peerId: string, hash: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.#size(peerId, { op: 'keep', hash }, HAVE_TIMEOUT_MS, signal)) !== null
  }

  /** Those of `hashes` that the peer holds. */
  async which(
    peerId: string,
    hashes: readonly string[],
    signal?: AbortSignal,
  ): Promise<Set<string>> {
    const found = new Set<string>()
    for (let at = 0; at < hashes.length; at += WHICH_HASHES_MAX) {
      const some = hashes.slice(at, at + WHICH_HASHES_MAX)
      const answer = await this.#ask(peerId, { op: 'which', hashes: some }, HAVE_TIMEOUT_MS, signal)
      if (!('held' in answer) || answer.held.length !== some.length) throw otherAnswer()
      some.filter((_, index) => answer.held[index]).forEach((hash) => found.add(hash))
    }
    return found
  }

  /** Makes the peer pull the blob from here; resolves once it holds it durably. */
  async hold(
    peerId: string,
    blob: BlobStat,
    options: { heldFor?: string; signal?: AbortSignal } = {},
  ): Promise<void> {
    const { hash, sizeBytes } = blob
    const { heldFor, signal } = options
    const request = { op: 'hold' as const, hash, sizeBytes, ...(heldFor && { heldFor }) }
    const timeoutMs = receiveTimeoutMs(sizeBytes, this.#receiveBaseTimeoutMs)
    if ((await this.#size(peerId, request, timeoutMs, signal)) === null) {
      throw new StorageUnavailableError('The peer did not take the copy.')
    }
  }

  async #size(
    peerId: string,
    request: ReplicationRequest,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<number | null> {
    const answer = await this.#ask(peerId, request, timeoutMs, signal)
    if (!('sizeBytes' in answer)) throw otherAnswer()
    return answer.sizeBytes
  }

  async #ask(
    peerId: string,
    request: ReplicationRequest,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<ReplicationAnswer> {
    const options = { timeoutMs, ...(signal && { signal }) }
    const payload = encodeMessage(request)
    return decodeAnswer(await this.#mesh.request(peerId, REPLICATION_PROTOCOL, payload, options))
  }
}

function otherAnswer(): ProtocolViolationError {
  return new ProtocolViolationError('The peer answered another question than was asked.')
}
