import type { Startable } from '../../shared/lifecycle.ts'
import type { ProviderKey } from './keys.ts'

/** The distributed table, reduced to what bzzz keeps in it. Every call is bounded in time. */
export interface DHT extends Startable {
  /** Stores the newest record (its encoded bytes) of an address. */
  putRecord(name: string, bytes: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>
  /** The record that the selector picks from what the lookup saw; undefined when none was found. */
  getRecord(name: string, options?: { signal?: AbortSignal }): Promise<Uint8Array | undefined>
  /** Announces this node under the key; see Provider, which does so in time and again. */
  provide(key: ProviderKey, options?: { signal?: AbortSignal }): Promise<void>
  /** Forgets here that `peerId` (this node or one that says so itself) provides the key. */
  withdraw(key: ProviderKey, peerId: string): void
  /** Other nodes that this node's own part of the table names; nobody is asked. */
  providersHere(key: ProviderKey): string[]
  /** Peer ids of other nodes that announced the key, as they are found. */
  findProviders(key: ProviderKey, options?: { signal?: AbortSignal }): AsyncIterable<string>
  /** Peers in the routing table, for metrics and status. */
  routingTablePeers(): number
}
