import type { Startable } from '../../shared/lifecycle.ts'

/** The distributed table, reduced to what bzzz keeps in it. Every call is bounded in time. */
export interface DHT extends Startable {
  /** Stores the newest record (its encoded bytes) of an address. */
  putRecord(name: string, bytes: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>
  /** The record that the selector picks from what the lookup saw; undefined when none was found. */
  getRecord(name: string, options?: { signal?: AbortSignal }): Promise<Uint8Array | undefined>
  /** Announces this node as a holder of a root (thread, manifest, record), never of a blob. */
  provideRoot(hash: string, options?: { signal?: AbortSignal }): Promise<void>
  /** Peer ids of nodes that announced the root, as they are found. */
  findProviders(hash: string, options?: { signal?: AbortSignal }): AsyncIterable<string>
  /** Peers in the routing table, for metrics and status. */
  routingTablePeers(): number
}
