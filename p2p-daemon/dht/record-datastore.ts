import { NotFoundError } from '@libp2p/interface'
import { Record as Libp2pRecord } from '@libp2p/kad-dht'
import { BaseDatastore } from 'datastore-core'
import { LRUCache } from 'lru-cache'
import { base32 } from 'multiformats/bases/base32'
import { varint } from 'multiformats'
import type { CID } from 'multiformats/cid'

import { compareRecords, decodeRecord } from '../../shared/record/record.ts'
import { ENTRIES_BYTES_MAX, ENTRIES_MAX, PROVIDER_VALIDITY_MS } from './constants.ts'

type Key = Parameters<BaseDatastore['put']>[0]
type Query = Parameters<BaseDatastore['query']>[0]
interface Entry {
  key: Key
  value: Uint8Array
}

/** kad-dht's own layout: `/dht/record/<key>` and `/dht/provider/<key>/<peer>`. */
const RECORD_PREFIX = '/dht/record/'
const PROVIDER_PREFIX = '/dht/provider/'
const GROUP_SEGMENTS = 4

/**
 * Where kad-dht keeps its entries: in memory, bounded, and with an order on records. kad-dht
 * stores whatever valid record a peer puts, so a stale one would replace a newer one; here it
 * loses. Entries of one key are one group, so that looking for providers does not walk the table.
 */
export class RecordDatastore extends BaseDatastore {
  readonly #onRecord: (bytes: Uint8Array) => void
  readonly #groups = new LRUCache<string, Map<string, Entry>>({
    max: ENTRIES_MAX,
    maxSize: ENTRIES_BYTES_MAX,
    sizeCalculation: sizeOf,
  })

  /** `onRecord` is told of every record that is to be stored, also of one that loses. */
  constructor(components: { onRecord: (bytes: Uint8Array) => void }) {
    super()
    this.#onRecord = components.onRecord
  }

  /** The record kept here under a key of the table. */
  record(key: Uint8Array): Uint8Array | undefined {
    const text = RECORD_PREFIX + base32.baseEncode(key)
    const entry = this.#groups.get(text)?.get(text)
    return entry && Libp2pRecord.deserialize(entry.value).value
  }

  /** Peer ids announced under a key of the table, without those whose time is over. */
  providers(cid: CID, nowMs: number): string[] {
    const group = this.#groups.get(providerGroup(cid))?.entries() ?? []
    return [...group]
      .filter(([, { value }]) => nowMs - varint.decode(value)[0] < PROVIDER_VALIDITY_MS)
      .map(([text]) => text.slice(text.lastIndexOf('/') + 1))
  }

  removeProvider(cid: CID, peerId: string): void {
    this.#remove(`${providerGroup(cid)}/${peerId}`)
  }

  override put(key: Key, value: Uint8Array): Key {
    const text = key.toString()
    if (text.startsWith(RECORD_PREFIX) && this.#loses(text, value)) return key
    const group = new Map(this.#groups.get(groupOf(text)))
    group.set(text, { key, value })
    this.#groups.set(groupOf(text), group)
    return key
  }

  override get(key: Key): Uint8Array {
    const entry = this.#groups.get(groupOf(key.toString()))?.get(key.toString())
    if (!entry) throw new NotFoundError('There is no such entry.')
    return entry.value
  }

  override has(key: Key): boolean {
    return this.#groups.peek(groupOf(key.toString()))?.has(key.toString()) ?? false
  }

  override delete(key: Key): void {
    this.#remove(key.toString())
  }

  #remove(text: string): void {
    const group = new Map(this.#groups.peek(groupOf(text)))
    if (!group.delete(text)) return
    if (group.size === 0) this.#groups.delete(groupOf(text))
    else this.#groups.set(groupOf(text), group)
  }

  override async *_all(query: Query): AsyncGenerator<Entry> {
    for (const group of this.#matching(query.prefix)) yield* group.values()
  }

  override async *_allKeys(query: { prefix?: string }): AsyncGenerator<Key> {
    for (const group of this.#matching(query.prefix)) {
      for (const { key } of group.values()) yield key
    }
  }

  /** One group where the prefix names it, or a copy of all: callers delete while they walk. */
  #matching(prefix = ''): Map<string, Entry>[] {
    if (prefix.split('/').length < GROUP_SEGMENTS) return [...this.#groups.values()]
    const group = this.#groups.get(groupOf(prefix))
    return group ? [group] : []
  }

  #loses(text: string, value: Uint8Array): boolean {
    const bytes = Libp2pRecord.deserialize(value).value
    this.#onRecord(bytes)
    const present = this.#groups.get(groupOf(text))?.get(text)
    if (!present) return false
    const standing = decodeRecord(Libp2pRecord.deserialize(present.value).value)
    return compareRecords(standing, decodeRecord(bytes)) < 0
  }
}

function providerGroup(cid: CID): string {
  return PROVIDER_PREFIX + base32.baseEncode(cid.multihash.bytes)
}

/** The first three segments: `/dht/provider/<key>` of `/dht/provider/<key>/<peer>`. */
function groupOf(text: string): string {
  return text.split('/', GROUP_SEGMENTS).join('/')
}

function sizeOf(group: Map<string, Entry>, name: string): number {
  let bytes = name.length
  for (const [text, { value }] of group) bytes += text.length + value.length
  return bytes
}
