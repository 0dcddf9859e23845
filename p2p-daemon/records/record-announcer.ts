import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { encodeRecord, recordHash, type AddressRecord } from '../../shared/record/record.ts'
import type { DHT } from '../dht/dht.ts'
import { KeyPace } from '../key-pace.ts'
import {
  ANNOUNCE_ALL_DELAY_MS,
  ANNOUNCE_ALL_INTERVAL_MS,
  ANNOUNCE_ALL_PAGE,
  ANNOUNCE_ALL_PAUSE_MS,
  ANNOUNCE_QUEUE_MAX,
  ANNOUNCE_REST_MS,
} from './constants.ts'
import type { RecordPeers } from './record-peers.ts'
import type { RecordStore } from './record-store.ts'

export interface RecordAnnouncerComponents {
  dht: Pick<DHT, 'putRecord'>
  store: RecordStore
  /** Of the holders of an address the first of its rank puts it again; one is enough. */
  peers: Pick<RecordPeers, 'coordinators'>
  log: Logger
}

/**
 * Puts new heads into the DHT, one at a time and off the path of the write. Only the newest record
 * of an address is put, however many wait, and a busy address is put now and then; a full queue
 * drops the newcomer. The holders answer for what is not there, and are asked first anyway. Entries
 * of the table expire after 48 hours and live in memory, so all heads are put again some time after
 * the start and every so often.
 */
export class RecordAnnouncer implements Startable {
  readonly #components: RecordAnnouncerComponents
  readonly #selfId: string
  readonly #names = new Set<string>()
  readonly #pace = new KeyPace({
    restMs: ANNOUNCE_REST_MS,
    keysMax: ANNOUNCE_QUEUE_MAX,
    run: (name) => this.#add(name),
  })
  #timer: NodeJS.Timeout | undefined
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined

  constructor(components: RecordAnnouncerComponents, init: { selfId: string }) {
    this.#components = components
    this.#selfId = init.selfId
  }

  announce(record: AddressRecord): void {
    this.#pace.call(record.address)
  }

  /** Begins a round over all heads now instead of when the next is due. */
  announceAll(): void {
    if (!this.#controller) return
    clearTimeout(this.#timer)
    this.#announceAll(this.#controller.signal)
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    const { signal } = this.#controller
    this.#loop = this.#run(signal)
    this.#timer = setTimeout(() => this.#announceAll(signal), ANNOUNCE_ALL_DELAY_MS)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#controller?.abort()
    this.#controller = undefined
    this.#pace.flush()
    this.#wake()
    await this.#loop
  }

  #add(name: string): void {
    if (this.#names.size >= ANNOUNCE_QUEUE_MAX) return
    this.#names.add(name)
    this.#wake()
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [name] = this.#names
      if (name === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        continue
      }
      this.#names.delete(name)
      await this.#put(name, signal)
    }
  }

  /** A page of names for each free queue, so that new heads are never kept waiting long. */
  #announceAll(signal: AbortSignal, after = ''): void {
    if (signal.aborted) return
    const { store, peers } = this.#components
    const page = this.#names.size > 0 ? [] : store.heads(after, ANNOUNCE_ALL_PAGE)
    for (const { name } of page) {
      if (peers.coordinators(name)[0] === this.#selfId) this.#names.add(name)
    }
    this.#wake()
    const last = page.at(-1)?.name
    const isEnd = this.#names.size === 0 && page.length < ANNOUNCE_ALL_PAGE
    this.#timer = isEnd
      ? setTimeout(() => this.#announceAll(signal), ANNOUNCE_ALL_INTERVAL_MS)
      : setTimeout(() => this.#announceAll(signal, last ?? after), ANNOUNCE_ALL_PAUSE_MS)
  }

  async #put(name: string, signal: AbortSignal): Promise<void> {
    const { dht, store, log } = this.#components
    const head = store.head(name)
    if (!head) return
    try {
      await dht.putRecord(name, encodeRecord(head), { signal })
    } catch (error) {
      if (signal.aborted) return
      log.debug({ err: error, record: recordHash(head) }, 'record not put into the DHT')
    }
  }
}
