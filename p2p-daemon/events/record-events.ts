import { parseAddress } from '../../shared/address/address.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { AddressRecord } from '../../shared/record/record.ts'
import type { RecordStore } from '../records/record-store.ts'
import { RECORD_POLL_MS, RECORDS_PER_POLL_MAX } from './constants.ts'
import type { NodeEvent } from './event.ts'

export interface RecordEventsComponents {
  store: Pick<RecordStore, 'since' | 'lastSequence'>
  append: (event: NodeEvent) => void
  log: Logger
}

/**
 * Records that this node came to hold, in the order in which it did: its own, those it keeps
 * copies of, and those it learned of otherwise. They are read from the store, so that no road on
 * which a record may come is forgotten.
 */
export class RecordEvents implements Startable {
  readonly #components: RecordEventsComponents
  #timer: NodeJS.Timeout | undefined
  #sequence = 0

  constructor(components: RecordEventsComponents) {
    this.#components = components
  }

  /** What was there before is no event. */
  start(): Promise<void> {
    if (this.#timer) return Promise.resolve()
    this.#sequence = this.#components.store.lastSequence()
    this.#timer = setTimeout(() => this.#poll(), RECORD_POLL_MS)
    return Promise.resolve()
  }

  stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    return Promise.resolve()
  }

  #poll(): void {
    const { store, append, log } = this.#components
    let isMore = false
    try {
      const records = store.since(this.#sequence, RECORDS_PER_POLL_MAX)
      isMore = records.length === RECORDS_PER_POLL_MAX
      for (const { sequence, record } of records) {
        this.#sequence = sequence
        append(toEvent(record))
      }
    } catch (error) {
      log.warn({ err: error }, 'new records cannot be read for events')
    }
    this.#timer = setTimeout(() => this.#poll(), isMore ? 0 : RECORD_POLL_MS)
  }
}

function toEvent(record: AddressRecord): NodeEvent {
  const { address, version, hash, sizeBytes, mediaType, author, timestampMs } = record
  const parsed = parseAddress(address)
  const writtenAt = new Date(timestampMs).toISOString()
  return {
    type: 'record.written',
    // A record names a semantic address; without a project nobody but an admin may be told.
    project: parsed.kind === 'semantic' ? parsed.project : '',
    data: { address, version, hash, size: sizeBytes, mediaType, author, writtenAt },
  }
}
