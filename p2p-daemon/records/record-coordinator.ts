import { encodeRecord, recordHash, type AddressRecord } from '../../shared/record/record.ts'
import { quorumOf } from '../replication/placement.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { STORE_TIMEOUT_MS, STRAGGLER_WAIT_MS } from './constants.ts'
import { KeyedLock } from './keyed-lock.ts'
import type { RecordLookup } from './record-lookup.ts'
import type { RecordPeers } from './record-peers.ts'
import { recordToText, type RecordAnswer } from './record-protocol.ts'
import type { RecordStore } from './record-store.ts'

export interface RecordCoordinatorComponents {
  store: RecordStore
  blobs: Pick<BlobStore, 'put'>
  peers: RecordPeers
  lookup: RecordLookup
  /** Told of every record this node newly holds: DHT, search index, events. */
  onRecord?: (record: AddressRecord) => void
}

export interface SpreadResult {
  holders: string[]
  quorum: boolean
}

/** Orders the writes of the addresses this node coordinates and spreads what it accepts. */
export class RecordCoordinator {
  readonly #components: RecordCoordinatorComponents
  readonly #selfId: string
  readonly #lock = new KeyedLock()

  constructor(components: RecordCoordinatorComponents, init: { selfId: string }) {
    this.#components = components
    this.#selfId = init.selfId
  }

  /**
   * Accepts `record` when it follows the head that the holders agree on. A crash after the local
   * add leaves a record that no quorum acknowledged: it is either found and built upon, or
   * repeated by its writer; it was never promised.
   */
  commit(record: AddressRecord, fromPeerId: string, signal?: AbortSignal): Promise<RecordAnswer> {
    return this.#lock.run(record.address, async () => {
      const { lookup, peers } = this.#components
      // Who asks may reach more nodes than this one.
      peers.requireMajority()
      const head = await lookup.freshHead(record.address, signal)
      const isHead = head && recordHash(head) === recordHash(record)
      if (!isHead && !follows(record, head)) {
        return { outcome: 'conflict', records: head ? [recordToText(head)] : [] }
      }
      await this.keep(record)
      const { holders, quorum } = await this.#bring(record, signal, fromPeerId)
      return { outcome: quorum ? 'ok' : 'quorum', holders }
    })
  }

  /** Holds a record durably, as a blob and in the record store. */
  async keep(record: AddressRecord): Promise<void> {
    const { store, blobs, onRecord } = this.#components
    await blobs.put(encodeRecord(record))
    if (await store.addTogether(record)) onRecord?.(record)
  }

  /** Brings a record to its holders and counts those that hold it durably. */
  async spread(record: AddressRecord, signal?: AbortSignal): Promise<SpreadResult> {
    await this.keep(record)
    return this.#bring(record, signal)
  }

  /** Who calls keeps it already. */
  async #bring(
    record: AddressRecord,
    signal?: AbortSignal,
    alsoTo?: string,
  ): Promise<SpreadResult> {
    const { peers } = this.#components
    const holders = [this.#selfId]
    const targets = new Set([...peers.holders(record.address), ...(alsoTo ? [alsoTo] : [])])
    targets.delete(this.#selfId)
    const needed = quorumOf(peers.copiesPossible())
    const stores = [...targets].map(async (peerId) => {
      await peers.ask(
        peerId,
        { op: 'store', record: recordToText(record) },
        { timeoutMs: STORE_TIMEOUT_MS, ...(signal && { signal }) },
      )
      holders.push(peerId)
    })
    await settleOrQuorum(stores, () => holders.length >= needed)
    return { holders: [...holders], quorum: holders.length >= needed }
  }
}

function follows(record: AddressRecord, head: AddressRecord | undefined): boolean {
  if (!head) return record.version === 1 && record.previous === null
  return record.version === head.version + 1 && record.previous === recordHash(head)
}

/** Waits for all, or for a short while after enough of them have answered. */
async function settleOrQuorum(tasks: Promise<void>[], enough: () => boolean): Promise<void> {
  const all = Promise.allSettled(tasks)
  let timer: NodeJS.Timeout | undefined
  const linger = new Promise<void>((resolve) => {
    const arm = (): void => {
      if (enough()) timer ??= setTimeout(resolve, STRAGGLER_WAIT_MS)
    }
    arm()
    for (const task of tasks) task.then(arm, () => undefined)
  })
  await Promise.race([all, linger])
  clearTimeout(timer)
}
