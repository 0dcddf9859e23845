import { setImmediate } from 'node:timers/promises'

import { BATCH_BLOB_BYTES_MAX, splitBatches } from '../../../shared/blob/batch.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import type { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import { RemoteError } from '../../../shared/errors.ts'
import type { Startable } from '../../../shared/lifecycle.ts'
import {
  encodeExchange,
  EXCHANGES_MEDIA_TYPE,
  joinExchanges,
} from '../../../shared/llm/exchange.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { pause } from '../../../shared/pause.ts'
import type { Prices } from '../cost/prices.ts'
import { isOpen, type Batch } from './batches.ts'
import {
  DESCRIBED_BYTES_MAX,
  DESCRIBED_EXCHANGES_MAX,
  EXCHANGES_WAITING_MAX,
  GATHER_MS,
  RETRY_MS,
  RETRY_MS_MAX,
  STOP_TIMEOUT_MS,
  WRITE_BYTES_MAX,
  WRITE_EXCHANGES_MAX,
  WRITE_TIMEOUT_MS,
} from './constants.ts'
import { describeExchange } from './describe-exchange.ts'
import type { ExchangeEnd } from './recorder.ts'
import type { Recording } from './recording.ts'
import type { RecordingRules } from './recording-rules.ts'

/** What became of an exchange. */
export type Kept = 'full' | 'metadata' | 'refused' | 'lost'

export interface ExchangeWriterComponents {
  daemon: Pick<DaemonClient, 'putBlobs' | 'putBlob' | 'putNamed' | 'putAddress'>
  rules: () => Pick<RecordingRules, 'redactions'>
  prices: Pick<Prices, 'hash' | 'text'>
  onKept: (kept: Kept, recording: Recording) => void
  log: Logger
}

interface Ended {
  recording: Recording
  end: ExchangeEnd
}

/** What is written together: exchanges of one batch, with their blobs. */
interface Write {
  batch: Batch
  ended: Recording[]
  /** By their hashes: a body that came twice is sent once. */
  blobs: Map<string, Buffer>
}

/**
 * Stores ended exchanges, many at once, behind everything else. While no daemon answers they wait,
 * up to the bounds of their number and of the memory for their bodies; a process that is killed
 * takes them with it. A write that was cut may be repeated: blobs by their hash, the name by the
 * content that it then has already.
 */
export class ExchangeWriter implements Startable {
  readonly #components: ExchangeWriterComponents
  readonly #waiting: Ended[] = []
  /** Batches that were passed over in the last round, as they were still open. */
  #passed = new Set<Batch>()
  /** Of the bodies of those that wait. */
  #waitingBytes = 0
  /** Hash of the price map that was stored last. */
  #pricesStored = ''
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined
  /** Ends the pause in which exchanges are gathered. */
  #hurry: () => void = () => undefined

  constructor(components: ExchangeWriterComponents) {
    this.#components = components
  }

  get waiting(): number {
    return this.#waiting.length
  }

  add(recording: Recording, end: ExchangeEnd): void {
    if (this.#waiting.length >= EXCHANGES_WAITING_MAX) return this.#done('lost', recording)
    this.#waiting.push({ recording, end })
    this.#waitingBytes += recording.held
    this.#wake()
    if (this.#isFull()) this.#hurry()
  }

  start(): Promise<void> {
    if (this.#stopping) return Promise.resolve()
    this.#stopping = new AbortController()
    this.#loop = this.#run(this.#stopping.signal)
    return Promise.resolve()
  }

  /** What the daemons do not take now is lost, and logged. */
  async stop(): Promise<void> {
    if (!this.#stopping) return
    const controller = this.#stopping
    this.#stopping = null
    const timer = setTimeout(() => controller.abort(), STOP_TIMEOUT_MS)
    this.#wake()
    this.#hurry()
    await this.#loop
    clearTimeout(timer)
    const lost = this.#waiting.splice(0)
    this.#waitingBytes = 0
    for (const { recording } of lost) this.#done('lost', recording)
    if (lost.length > 0) this.#components.log.error({ lost: lost.length }, 'exchanges are lost')
  }

  /** Goes on after `stop` until nothing waits, or `signal` aborts. */
  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (this.#stopping || this.#waiting.length > 0)) {
      if (this.#waiting.length === 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
      }
      // Also between two writes, or a busy proxy would write a few exchanges again and again.
      if (this.#stopping && !this.#isFull()) {
        const hurry = new AbortController()
        this.#hurry = () => hurry.abort()
        await pause(GATHER_MS, AbortSignal.any([signal, hurry.signal]))
      }
      for (const write of await this.#gather()) await this.#persist(write, signal)
    }
  }

  #mayWait(batch: Batch): boolean {
    return this.#stopping !== null && !this.#passed.has(batch) && isOpen(batch)
  }

  #isFull(): boolean {
    return this.#waiting.length >= WRITE_EXCHANGES_MAX || this.#waitingBytes >= WRITE_BYTES_MAX
  }

  /**
   * Makes what is stored of the next ones, a write for each batch. A batch that is still open is
   * passed over once: each write is one of all that is in it, and a version of its address.
   */
  async #gather(): Promise<Write[]> {
    const writes = new Map<Batch, Write>()
    const passed: Ended[] = []
    const mayWait = new Set<Batch>()
    let bytes = 0
    let count = 0
    let rested = { bytes: 0, count: 0 }
    while (this.#waiting[0] && count < WRITE_EXCHANGES_MAX && bytes < WRITE_BYTES_MAX) {
      const next = this.#waiting.shift()!
      const { recording, end } = next
      const { batch } = recording
      count += 1
      bytes += recording.held
      if (batch && (mayWait.has(batch) || this.#mayWait(batch))) {
        passed.push(next)
        mayWait.add(batch)
        continue
      }
      this.#waitingBytes -= recording.held
      if (!batch) continue
      const write: Write = writes.get(batch) ?? { batch, ended: [], blobs: new Map() }
      writes.set(batch, write)
      const { redactions } = this.#components.rules()
      const { exchange, blobs } = describeExchange(recording, end, redactions)
      batch.exchanges.push(encodeExchange(exchange))
      write.ended.push(recording)
      for (const [hash, blob] of blobs) write.blobs.set(hash, blob)
      const isLong = count - rested.count >= DESCRIBED_EXCHANGES_MAX
      if (!isLong && bytes - rested.bytes < DESCRIBED_BYTES_MAX) continue
      rested = { bytes, count }
      await setImmediate()
    }
    this.#waiting.unshift(...passed)
    this.#passed = mayWait
    return [...writes.values()]
  }

  async #persist(write: Write, signal: AbortSignal): Promise<void> {
    let pauseMs = RETRY_MS
    for (;;) {
      try {
        await this.#write(write, AbortSignal.any([signal, AbortSignal.timeout(WRITE_TIMEOUT_MS)]))
        for (const recording of write.ended) {
          this.#done(recording.withheld === null ? 'full' : 'metadata', recording)
        }
        return
      } catch (error) {
        const isRefused = error instanceof RemoteError && isFinal(error.status)
        if (isRefused || signal.aborted) {
          const { length: exchanges } = write.ended
          this.#components.log.error({ err: error, exchanges }, 'exchanges are not recorded')
          const kept = isRefused ? 'refused' : 'lost'
          for (const recording of write.ended) this.#done(kept, recording)
          return
        }
        this.#components.log.warn({ err: error, waiting: this.waiting }, 'exchanges wait')
        await pause(pauseMs, signal)
        pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX)
      }
    }
  }

  async #write({ batch, blobs }: Write, signal: AbortSignal): Promise<void> {
    const { daemon, prices } = this.#components
    const { name, project, token } = batch
    const options = { token, project, signal }
    const content = joinExchanges(batch.exchanges)
    const { hash: priceHash, text } = prices
    const newPrices = priceHash !== this.#pricesStored
    const all = [
      ...blobs.values(),
      ...(newPrices && text !== '' ? [Buffer.from(text)] : []),
      content,
    ]
    const small = all.filter((blob) => blob.length <= BATCH_BLOB_BYTES_MAX)
    for (const blob of all) {
      if (blob.length <= BATCH_BLOB_BYTES_MAX) continue
      await daemon.putBlob(once(blob), { ...options, sizeBytes: blob.length })
    }
    const named = { hash: hashBytes(content), mediaType: EXCHANGES_MEDIA_TYPE }
    const parts = splitBatches(small)
    // The content is the last of all; where it is small, one request stores and names it.
    const last = small.at(-1) === content ? parts.pop() : undefined
    for (const part of parts) await daemon.putBlobs(part, options)
    if (last) await daemon.putNamed(name, last, named, options)
    else await daemon.putAddress(name, named, { token, signal })
    this.#pricesStored = priceHash
  }

  #done(kept: Kept, recording: Recording): void {
    this.#components.onKept(kept, recording)
  }
}

/** A caller's fault stays one however often it is repeated; so does a project that is full. */
function isFinal(status: number): boolean {
  return (status >= 400 && status < 500 && status !== 429) || status === 507
}

async function* once(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes
}
