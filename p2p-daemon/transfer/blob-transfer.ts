import type { Startable } from '../../shared/lifecycle.ts'

export interface RemoteBlob {
  hash: string
  sizeBytes: number
  /** In order, not verified: the receiver hashes what it gets. */
  body: AsyncIterable<Uint8Array>
  /**
   * Says that nobody uses this chunk of the body any more, so that what arrives next may have its
   * memory: its bytes change then. Nothing is lost but speed when it is never called.
   */
  release?: (chunk: Uint8Array) => void
}

export interface FetchOptions {
  /** First byte wanted: where an earlier transfer ended. */
  start?: number
  signal?: AbortSignal
}

/**
 * Moves blobs between nodes by ranged pull: the receiver asks for ranges and bounds how many are
 * outstanding, so a slow reader never fills anybody's memory.
 */
export interface BlobTransfer extends Startable {
  /** @throws BlobNotFoundError, PeerUnreachableError, ProtocolViolationError */
  fetch(peerId: string, hash: string, options?: FetchOptions): Promise<RemoteBlob>
}
