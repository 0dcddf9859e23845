import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { encodeRecord, recordHash, type AddressRecord } from '../../shared/record/record.ts'
import type { DHT } from '../dht/dht.ts'
import { ANNOUNCE_QUEUE_MAX } from './constants.ts'
import type { RecordStore } from './record-store.ts'

export interface RecordAnnouncerComponents {
  dht: Pick<DHT, 'putRecord'>
  store: RecordStore
  log: Logger
}

/**
 * Puts new heads into the DHT, one at a time and off the path of the write. Only the newest record
 * of an address is put, however many wait; a full queue drops the newcomer, which the holders
 * still answer for.
 */
export class RecordAnnouncer implements Startable {
  readonly #components: RecordAnnouncerComponents
  readonly #names = new Set<string>()
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined

  constructor(components: RecordAnnouncerComponents) {
    this.#components = components
  }

  announce(record: AddressRecord): void {
    if (this.#names.size >= ANNOUNCE_QUEUE_MAX) return
    this.#names.add(record.address)
    this.#wake()
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    this.#wake()
    await this.#loop
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
