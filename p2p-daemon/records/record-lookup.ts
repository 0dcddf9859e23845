import { AddressNotFoundError, VersionNotFoundError } from '../../shared/errors.ts'
import {
  compareRecords,
  decodeRecord,
  recordHash,
  verifyRecord,
  type AddressRecord,
} from '../../shared/record/record.ts'
import type { DHT } from '../dht/dht.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { BACKFILL_RECORDS_MAX, RECORDS_PER_FRAME_MAX, REPAIRS_MAX } from './constants.ts'
import type { RecordPeers } from './record-peers.ts'
import { recordToText, type RecordRequest } from './record-protocol.ts'
import type { RecordStore } from './record-store.ts'

export interface RecordLookupComponents {
  store: RecordStore
  peers: RecordPeers
  dht: Pick<DHT, 'getRecord'>
  ownership: Pick<Ownership, 'accepts'>
  /** Told of every record that a lookup brought here. */
  onRecord?: (record: AddressRecord) => void
  /** Told of records that the policy forbids to take from whoever brought them. */
  onRefused?: (reason: 'policy') => void
  /** Told when a holder that lagged was given the newest record. */
  onRepaired?: (name: string) => void
}

export interface Resolved {
  record: AddressRecord
  /** Versions nobody built upon beside the head's. 0 without a fork. */
  forks: number
  /** Where the answer came from: for metrics. */
  source: 'local' | 'peer' | 'dht'
}

interface Found extends Resolved {
  /** Who said so; absent for the DHT. */
  peerId?: string
}

/** One peer's answer. */
interface PeerAnswer {
  peerId: string
  found: Found[]
}

/**
 * Finds records: the local store where this node holds the address, then the holders, then the
 * DHT, then every connected peer. Nothing here needs Postgres or Redis.
 */
export class RecordLookup {
  readonly #components: RecordLookupComponents
  readonly #selfId: string
  /** False until this node has compared notes with a peer; its own copies may lag until then. */
  #caughtUp = true
  #repairs = 0

  constructor(components: RecordLookupComponents, init: { selfId: string }) {
    this.#components = components
    this.#selfId = init.selfId
  }

  /** While a node may have missed writes it asks the holders even for what it has. */
  setCaughtUp(caughtUp: boolean): void {
    this.#caughtUp = caughtUp
  }

  /** The record that stands. `fresh` asks the holders whatever is here. */
  async head(
    name: string,
    options: { fresh?: boolean; signal?: AbortSignal } = {},
  ): Promise<Resolved> {
    const { store, peers } = this.#components
    const local = store.head(name)
    const isHolder = peers.holders(name).includes(this.#selfId)
    if (local && isHolder && this.#caughtUp && !options.fresh) {
      return { record: local, forks: store.forks(name), source: 'local' }
    }
    const request: RecordRequest = { op: 'head', name }
    const heads = await this.#askPeers(peers.holders(name), request, options.signal)
    let found = best(heads)
    this.#repair(name, heads, local)
    if (!found && !local) {
      found =
        (await this.#fromDHT(name, options.signal)) ??
        (await this.#fromPeers(peers.others(), request, options.signal))
    }
    if (!found && local) return { record: local, forks: store.forks(name), source: 'local' }
    if (!found) throw new AddressNotFoundError(`Nothing is stored under ${name}.`)
    if (local && compareRecords(local, found.record) <= 0) {
      return { record: local, forks: Math.max(store.forks(name), found.forks), source: 'local' }
    }
    await this.learn(found.record, found.peerId, options.signal)
    const { record, forks, source } = found
    return { record, forks: Math.max(forks, store.forks(name)), source }
  }

  /** The head as the holders see it, or undefined where the address does not exist. */
  async freshHead(name: string, signal?: AbortSignal): Promise<AddressRecord | undefined> {
    try {
      const resolved = await this.head(name, { fresh: true, ...(signal && { signal }) })
      return resolved.record
    } catch (error) {
      if (error instanceof AddressNotFoundError) return undefined
      throw error
    }
  }

  /** @throws VersionNotFoundError, AddressNotFoundError */
  async version(name: string, version: number, signal?: AbortSignal): Promise<AddressRecord> {
    const local = this.#components.store.version(name, version)
    if (local) return local
    const found = await this.#fromPeers(
      this.#everybody(name),
      { op: 'version', name, version },
      signal,
    )
    if (found) return found.record
    const { record } = await this.head(name, signal ? { signal } : {})
    if (record.version === version) return record
    throw new VersionNotFoundError(
      `There is no version ${version}; the newest is ${record.version}.`,
    )
  }

  /** What stood at a moment. @throws VersionNotFoundError, AddressNotFoundError */
  async at(name: string, timestampMs: number, signal?: AbortSignal): Promise<AddressRecord> {
    await this.head(name, signal ? { signal } : {})
    const local = this.#components.store.at(name, timestampMs)
    const request: RecordRequest = { op: 'at', name, timestampMs }
    const found = local ?? (await this.#fromPeers(this.#everybody(name), request, signal))?.record
    if (found) return found
    const when = new Date(timestampMs).toISOString()
    throw new VersionNotFoundError(`The address did not exist at ${when}.`)
  }

  /** Newest first, below version `before`. */
  async history(
    name: string,
    page: { before: number; limit: number },
    signal?: AbortSignal,
  ): Promise<AddressRecord[]> {
    const { record } = await this.head(name, signal ? { signal } : {})
    const { store } = this.#components
    const first = Math.min(page.before, record.version + 1)
    let records = store.history(name, page.before, page.limit)
    if (records.length === 0 && first > 1) {
      await this.#backfill(name, first, this.#everybody(name), signal)
      records = store.history(name, page.before, page.limit)
    }
    return records
  }

  /** The ends of the chains of an address as its holders know them, the head first. */
  async ends(name: string, signal?: AbortSignal): Promise<AddressRecord[]> {
    const { store, peers } = this.#components
    const request: RecordRequest = { op: 'ends', name }
    for (const { peerId, records } of await peers.gather(peers.holders(name), request, signal)) {
      for (const record of records.filter(({ address }) => address === name)) {
        await this.learn(record, peerId, signal)
      }
    }
    return store.ends(name, RECORDS_PER_FRAME_MAX)
  }

  /**
   * Fetches ends that a version here has settled, and versions that are missing below others.
   * Nothing else brings them: they are no ends any more, and a chain is walked back only when its
   * end is new here.
   */
  async fetchMerged(signal?: AbortSignal): Promise<void> {
    for (const { name, hash } of this.#components.store.unseenMerged(RECORDS_PER_FRAME_MAX)) {
      signal?.throwIfAborted()
      const request: RecordRequest = { op: 'record', hash }
      const found = await this.#fromPeers(this.#everybody(name), request, signal)
      if (found && recordHash(found.record) === hash) {
        await this.learn(found.record, found.peerId, signal)
      }
    }
  }

  #everybody(name: string): string[] {
    const { peers } = this.#components
    return [...new Set([...peers.holders(name), ...peers.others()])]
  }

  async #fromPeers(
    peerIds: readonly string[],
    request: RecordRequest,
    signal?: AbortSignal,
  ): Promise<Found | undefined> {
    return best(await this.#askPeers(peerIds, request, signal))
  }

  /** What each of the peers that answered holds; one without a record has none. */
  async #askPeers(
    peerIds: readonly string[],
    request: RecordRequest,
    signal?: AbortSignal,
  ): Promise<PeerAnswer[]> {
    const answers = await this.#components.peers.gather(peerIds, request, signal)
    const name = 'name' in request ? request.name : undefined
    return answers.map(({ peerId, answer, records }) => ({
      peerId,
      found: records
        .filter((record) => name === undefined || record.address === name)
        .filter((record) => this.#isAllowed(record, peerId))
        .map((record) => ({ record, peerId, forks: answer.forks ?? 0, source: 'peer' as const })),
    }))
  }

  /** Gives the newest record to holders that answered with an older one or with none. */
  #repair(name: string, heads: readonly PeerAnswer[], local: AddressRecord | undefined): void {
    const { peers, onRepaired } = this.#components
    const found = [...heads.flatMap((each) => each.found.map(({ record }) => record))]
    const [newest] = [...found, ...(local ? [local] : [])].toSorted(compareRecords)
    if (!newest) return
    for (const { peerId, found: own } of heads) {
      const isOlder = own.every(({ record }) => compareRecords(newest, record) < 0)
      if (!isOlder || this.#repairs >= REPAIRS_MAX) continue
      this.#repairs += 1
      peers
        .ask(peerId, { op: 'store', record: recordToText(newest) })
        .then(
          () => onRepaired?.(name),
          // It compares notes itself before long.
          () => undefined,
        )
        .finally(() => (this.#repairs -= 1))
    }
  }

  async #fromDHT(name: string, signal?: AbortSignal): Promise<Found | undefined> {
    const bytes = await this.#components.dht
      .getRecord(name, signal ? { signal } : {})
      .catch(() => undefined)
    if (!bytes) return undefined
    const record = decodeRecord(bytes)
    verifyRecord(record)
    return this.#isAllowed(record) ? { record, forks: 0, source: 'dht' } : undefined
  }

  /** What is here already was taken when it was allowed. */
  #isAllowed(record: AddressRecord, peerId?: string): boolean {
    const { store, ownership, onRefused } = this.#components
    if (ownership.accepts(record, peerId) || store.byHash(recordHash(record))) return true
    onRefused?.('policy')
    return false
  }

  /**
   * A record that somebody put into the table here. One that is newer than what this node holds is
   * looked up with the holders, and taken as it is where they do not know it.
   */
  async onTableRecord(record: AddressRecord, signal?: AbortSignal): Promise<void> {
    const { store, peers } = this.#components
    const { address } = record
    const head = store.head(address)
    if (head && compareRecords(head, record) <= 0) return
    if (!peers.holders(address).includes(this.#selfId)) return
    const options = { fresh: true, ...(signal && { signal }) }
    await this.head(address, options).catch(() => undefined)
    await this.learn(record, undefined, signal)
  }

  /** Keeps what a lookup brought, and its predecessors, so that history is walkable here too. */
  async learn(record: AddressRecord, peerId?: string, signal?: AbortSignal): Promise<void> {
    const { store, onRecord } = this.#components
    if (!this.#isAllowed(record, peerId)) return
    if (store.add(record)) onRecord?.(record)
    const parents = [
      ...(record.previous === null ? [] : [record.previous]),
      ...(record.merged ?? []),
    ]
    const gap = parents.some((hash) => !store.byHash(hash))
    if (gap && peerId) await this.#backfill(record.address, record.version, [peerId], signal)
  }

  /** Fetches versions below `before` until known ground is reached. */
  async #backfill(
    name: string,
    before: number,
    peerIds: readonly string[],
    signal?: AbortSignal,
  ): Promise<void> {
    const { store, peers, onRecord } = this.#components
    let next = before
    for (let fetched = 0; fetched < BACKFILL_RECORDS_MAX && next > 1;) {
      const request = { op: 'history', name, before: next, limit: RECORDS_PER_FRAME_MAX } as const
      const answers = await peers.gather(peerIds, request, signal)
      const records = answers.flatMap(({ peerId, records: brought }) =>
        brought.filter((record) => record.address === name && this.#isAllowed(record, peerId)),
      )
      const fresh = records.filter((record) => store.add(record))
      for (const record of fresh) onRecord?.(record)
      if (fresh.length === 0) return
      fetched += fresh.length
      next = Math.min(...fresh.map((record) => record.version))
      const oldest = fresh.find((record) => record.version === next)
      if (oldest?.previous && store.byHash(oldest.previous)) return
    }
  }
}

function best(answers: readonly PeerAnswer[]): Found | undefined {
  const found = answers.flatMap((each) => each.found)
  return found.sort((a, b) => compareRecords(a.record, b.record))[0]
}
