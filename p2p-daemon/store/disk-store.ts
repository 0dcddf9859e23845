import assert from 'node:assert/strict'

import { hashBytes, parseHash } from '../../shared/blob/hash.ts'
import {
  DataFolderUnwritableError,
  HashMismatchError,
  StorageUnavailableError,
} from '../../shared/errors.ts'
import type {
  BlobRead,
  BlobStat,
  BlobStore,
  DeleteOptions,
  PutOptions,
  PutResult,
  ReadOptions,
  VerifyOptions,
} from './blob-store.ts'
import {
  CHUNK_BYTES,
  COMPACT_GARBAGE_SHARE_MIN,
  LIST_PAGE_ROWS,
  PACK_BLOB_BYTES_MAX,
  PROBE_INTERVAL_MS,
  SEGMENT_BYTES_MAX,
} from './constants.ts'
import { type DiskFiles, NodeDiskFiles } from './disk-files.ts'
import { hashOnly } from './loose-files.ts'
import type { CompactionResult } from './pack-compaction.ts'
import { refusalText, type StoreHealth, WriteGate } from './store-health.ts'
import { NO_STORE_LOG, type StoreLog } from './store-log.ts'
import { NO_STORE_METRICS, secondsSince, type StoreMetrics } from './store-metrics.ts'
import { openStoreParts, probeWrites, type StoreParts } from './store-parts.ts'
import type { RebuildProgress } from './store-recovery.ts'
import { assertWithinLimits, uploadChunks } from './upload.ts'

export interface DiskStoreComponents {
  log?: StoreLog
  metrics?: StoreMetrics
  /** A copy was found bad and is in quarantine: the moment to fetch a good one. */
  onCorrupt?: (hash: string, reason: string) => void
  /** While the index is rebuilt from disk at start. */
  onProgress?: (progress: RebuildProgress) => void
  /** The file system; tests put one here that fails. */
  files?: DiskFiles
}

export interface DiskStoreInit {
  /** Blobs go to `<dataDir>/blobs/`. */
  dataDir: string
  packBlobBytesMax?: number
  segmentBytesMax?: number
  probeIntervalMs?: number
}

/**
 * The blob disk of a node.
 *
 *     const store = new DiskStore({ log, metrics, onCorrupt }, { dataDir })
 *     await store.start()
 *
 * Layout, formats and what a crash leaves are told in docs/DESIGN-blob-store.md.
 */
export class DiskStore implements BlobStore {
  readonly #log: StoreLog
  readonly #metrics: StoreMetrics
  readonly #files: DiskFiles
  readonly #components: DiskStoreComponents
  readonly #init: Required<DiskStoreInit>
  readonly #gate: WriteGate
  readonly #putting = new Map<string, Promise<unknown>>()
  /** Deletions that are decided and not yet on disk: a put of the same blob waits for them. */
  readonly #deleting = new Map<string, Promise<unknown>>()
  #onPut: (hash: string) => void = () => undefined
  #parts: StoreParts | undefined
  #starting: Promise<void> | undefined
  #compacting: Promise<CompactionResult> | undefined
  #stopping = new AbortController()

  constructor(components: DiskStoreComponents, init: DiskStoreInit) {
    this.#components = components
    this.#log = components.log ?? NO_STORE_LOG
    this.#metrics = components.metrics ?? NO_STORE_METRICS
    this.#files = components.files ?? new NodeDiskFiles()
    this.#init = {
      packBlobBytesMax: PACK_BLOB_BYTES_MAX,
      segmentBytesMax: SEGMENT_BYTES_MAX,
      probeIntervalMs: PROBE_INTERVAL_MS,
      ...init,
    }
    assert(this.#init.packBlobBytesMax <= CHUNK_BYTES, 'a packed blob is at most one chunk')
    this.#gate = new WriteGate({ log: this.#log }, this.#init)
  }

  /**
   * @throws DataFolderLockedError, DataFolderForeignError, DataFolderNewerError,
   *   DataFolderUnwritableError
   */
  start(options: { signal?: AbortSignal } = {}): Promise<void> {
    this.#starting ??= this.#start(options.signal).catch((error: unknown) => {
      this.#starting = undefined
      const reason = refusalText(error)
      if (reason === undefined) throw error
      const message = `${this.#init.dataDir} cannot be used: ${reason}.`
      throw new DataFolderUnwritableError(message, { cause: error })
    })
    return this.#starting
  }

  async #start(signal?: AbortSignal): Promise<void> {
    const parts = await openStoreParts(
      {
        files: this.#files,
        log: this.#log,
        metrics: this.#metrics,
        gate: this.#gate,
        onCorrupt: this.#components.onCorrupt ?? (() => undefined),
        onProgress: this.#components.onProgress ?? (() => undefined),
      },
      { ...this.#init, signal },
    )
    this.#parts = parts
    this.#gate.start(() => probeWrites(this.#files, parts))
    this.#metrics.storeBytes(parts.index.usage().bytes)
  }

  /** Puts that are with the disk already are finished, those still arriving are refused. */
  async stop(): Promise<void> {
    await this.#starting?.catch(() => undefined)
    const parts = this.#parts
    this.#parts = undefined
    this.#starting = undefined
    this.#stopping.abort(new StorageUnavailableError('The store is stopped.'))
    this.#stopping = new AbortController()
    await this.#compacting?.catch(() => undefined)
    await this.#gate.stop()
    await parts?.close()
  }

  /** Whether puts are taken. Reads go on either way. */
  health(): StoreHealth {
    return this.#gate.health()
  }

  async put(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions = {},
  ): Promise<PutResult> {
    const parts = this.#started()
    const { expectedHash } = options
    const expected = expectedHash === undefined ? undefined : parseHash(expectedHash)
    this.#gate.assertWritable()
    const startedMs = performance.now()
    const result = await this.#putSource(parts, source, options, expected)
    this.#metrics.io('put', secondsSince(startedMs), result.sizeBytes)
    this.#metrics.storeBytes(parts.index.usage().bytes)
    return result
  }

  async #putSource(
    parts: StoreParts,
    source: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions,
    expected: string | undefined,
  ): Promise<PutResult> {
    const { packBlobBytesMax } = this.#init
    if (source instanceof Uint8Array && source.byteLength <= packBlobBytesMax) {
      assertWithinLimits(source.byteLength, options)
      return this.#putPacked(parts, source, expected, options.signal)
    }
    const { buffers } = parts
    const onTaken = (chunk: Uint8Array): void => {
      buffers.giveBack(chunk)
      options.onTaken?.(chunk)
    }
    const chunks = uploadChunks(source, options, buffers)
    try {
      const first = await chunks.next()
      const head = first.done === true ? new Uint8Array(0) : first.value
      // Only a full chunk can be followed by another.
      const second = head.byteLength === CHUNK_BYTES ? await chunks.next() : undefined
      if (head.byteLength <= packBlobBytesMax && (second === undefined || second.done === true)) {
        const result = await this.#putPacked(parts, head, expected, options.signal)
        onTaken(head)
        return result
      }
      const begun = second === undefined || second.done === true ? [head] : [head, second.value]
      return await this.#putLoose(parts, chained(begun, chunks), { expected, onTaken })
    } finally {
      await chunks.return(undefined)
    }
  }

  async get(hash: string, options: ReadOptions = {}): Promise<BlobRead> {
    options.signal?.throwIfAborted()
    const startedMs = performance.now()
    const read = await this.#started().reader.read(parseHash(hash), options)
    this.#metrics.io('get', secondsSince(startedMs), read.end + 1 - read.start)
    return read
  }

  async stat(hash: string): Promise<BlobStat | undefined> {
    const id = parseHash(hash)
    const location = this.#started().index.get(id)
    return location === undefined ? undefined : { hash: id, sizeBytes: location.sizeBytes }
  }

  async touch(hash: string): Promise<BlobStat | undefined> {
    const { index } = this.#started()
    const id = parseHash(hash)
    // No await between the last look and telling the listener: a deletion would fit in between.
    for (let busy = this.#deleting.get(id); busy !== undefined; busy = this.#deleting.get(id)) {
      await busy.catch(() => undefined)
    }
    this.#onPut(id)
    const location = index.get(id)
    return location === undefined ? undefined : { hash: id, sizeBytes: location.sizeBytes }
  }

  watchPuts(listener: (hash: string) => void): void {
    this.#onPut = listener
  }

  async delete(hash: string, options: DeleteOptions = {}): Promise<boolean> {
    const parts = this.#started()
    const id = parseHash(hash)
    return parts.locks.run(id, async () => {
      if (options.onlyIf?.() === false) return false
      const deleting = this.#delete(parts, id)
      this.#deleting.set(id, deleting)
      try {
        return await deleting
      } finally {
        this.#deleting.delete(id)
      }
    })
  }

  /** Who calls holds the lock of the hash. */
  async #delete({ index, loose, packLog }: StoreParts, id: string): Promise<boolean> {
    const startedMs = performance.now()
    const location = index.get(id)
    if (location !== undefined) {
      this.#gate.assertWritable()
      const payload = new Uint8Array(0)
      await packLog.append({ kind: 'tombstone', hash: id, value: location.sequence, payload })
    }
    // A crash before the unlink leaves a file nobody knows. The other way round it would leave
    // a record without its file, and the next put would take the blob for stored. A file
    // nobody knows goes too: a put cut before its record must not come back after a delete.
    if (location?.loose !== false) await this.#onDisk(loose.removeIfThere(id))
    if (location === undefined) return false
    this.#metrics.io('delete', secondsSince(startedMs), location.sizeBytes)
    this.#metrics.storeBytes(index.usage().bytes)
    return true
  }

  async *list(
    options: { after?: string; limit?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<BlobStat> {
    let after = options.after === undefined ? '' : parseHash(options.after)
    let left = options.limit ?? Number.POSITIVE_INFINITY
    while (left > 0) {
      options.signal?.throwIfAborted()
      const page = this.#started().index.page(after, Math.min(left, LIST_PAGE_ROWS))
      yield* page
      const last = page.at(-1)
      if (last === undefined) return
      after = last.hash
      left -= page.length
    }
  }

  async usage(): Promise<{ blobs: number; bytes: number }> {
    return this.#started().index.usage()
  }

  async verify(hash: string, options: VerifyOptions = {}): Promise<boolean> {
    const startedMs = performance.now()
    const id = parseHash(hash)
    const sizeBytes = this.#started().index.get(id)?.sizeBytes ?? 0
    const good = await this.#started().reader.verify(id, options)
    this.#metrics.io('verify', secondsSince(startedMs), sizeBytes)
    return good
  }

  /**
   * Gives the space of deleted blobs back and takes in loose files that no record speaks of. Puts
   * and reads go on meanwhile. A second call while one runs waits for that one.
   */
  compact(
    options: { garbageShareMin?: number; signal?: AbortSignal } = {},
  ): Promise<CompactionResult> {
    this.#compacting ??= this.#compact(options).finally(() => {
      this.#compacting = undefined
    })
    return this.#compacting
  }

  async #compact(options: {
    garbageShareMin?: number
    signal?: AbortSignal
  }): Promise<CompactionResult> {
    const { compaction, orphans } = this.#started()
    const startedMs = performance.now()
    const { signal: stopping } = this.#stopping
    const signal = AbortSignal.any([stopping, ...(options.signal ? [options.signal] : [])])
    const garbageShareMin = options.garbageShareMin ?? COMPACT_GARBAGE_SHARE_MIN
    const result = await compaction.run({ garbageShareMin, signal })
    const adopted = await orphans.adopt(signal)
    this.#metrics.io('compact', secondsSince(startedMs), Math.max(result.reclaimedBytes, 0))
    this.#log.info({ ...result, adopted }, 'the blob store was compacted')
    return result
  }

  async #putPacked(
    parts: StoreParts,
    bytes: Uint8Array,
    expected: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<PutResult> {
    const hash = hashBytes(bytes)
    assertExpected(hash, expected)
    const sizeBytes = bytes.byteLength
    // A put of the same blob under way is joined; when it fails this one tries on its own.
    for (;;) {
      const busy = this.#deleting.get(hash) ?? this.#putting.get(hash)
      if (busy === undefined) break
      await busy.catch(() => undefined)
    }
    this.#onPut(hash)
    if (parts.index.get(hash) !== undefined) return { hash, sizeBytes, existed: true }
    const entry = { kind: 'blob' as const, hash, value: sizeBytes, payload: bytes }
    const putting = parts.packLog.append(entry, signal)
    this.#putting.set(hash, putting)
    try {
      await putting
    } finally {
      this.#putting.delete(hash)
    }
    return { hash, sizeBytes, existed: false }
  }

  async #putLoose(
    parts: StoreParts,
    chunks: AsyncIterable<Uint8Array>,
    { expected, onTaken }: { expected: string | undefined; onTaken: (chunk: Uint8Array) => void },
  ): Promise<PutResult> {
    const { index, loose, locks, packLog } = parts
    if (expected !== undefined && (await this.touch(expected)) !== undefined) {
      const known = await hashOnly(chunks)
      assertExpected(known.hash, expected)
      return { ...known, existed: true }
    }
    const staged = await loose.stage(chunks, (cause) => this.#gate.refuse(cause), onTaken)
    const { hash, sizeBytes } = staged
    let published = false
    try {
      assertExpected(hash, expected)
      return await locks.run(hash, async () => {
        this.#onPut(hash)
        if (index.get(hash) !== undefined) return { hash, sizeBytes, existed: true }
        await this.#onDisk(loose.publish(staged))
        published = true
        const payload = staged.chunkHashes.encode(hash)
        await packLog.append({ kind: 'loose', hash, value: sizeBytes, payload })
        return { hash, sizeBytes, existed: false }
      })
    } finally {
      if (!published) await loose.discard(staged.tempPath)
    }
  }

  async #onDisk(work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      throw this.#gate.refuse(error)
    }
  }

  #started(): StoreParts {
    if (this.#parts === undefined) throw new StorageUnavailableError('The store is not started.')
    return this.#parts
  }
}

async function* chained(
  begun: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* begun
  yield* rest
}

function assertExpected(hash: string, expected: string | undefined): void {
  if (expected === undefined || expected === hash) return
  throw new HashMismatchError(`The bytes have the hash ${hash}, not ${expected}.`)
}
