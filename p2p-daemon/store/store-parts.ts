import { join } from 'node:path'

import { StorageUnavailableError } from '../../shared/errors.ts'
import { BlobReader } from './blob-reader.ts'
import { BufferPool } from './buffer-pool.ts'
import {
  BATCH_BYTES_MAX,
  BATCH_RECORDS_MAX,
  INDEX_FLUSH_MS,
  INDEX_PENDING_MAX,
  OVERLAP_BYTES_MIN,
  PREALLOCATE_BYTES_MAX,
  PROBE_BYTES,
  QUEUE_BYTES_MAX,
  QUEUE_RECORDS_MAX,
  SEGMENT_FILES_OPEN_MAX,
} from './constants.ts'
import { type DiskFiles, writeNewFile } from './disk-files.ts'
import { HashLocks } from './hash-locks.ts'
import { HashPool } from './hash-pool.ts'
import { IndexDatabase } from './index-database.ts'
import { LooseFiles } from './loose-files.ts'
import { LooseOrphans } from './loose-orphans.ts'
import { PackCompaction } from './pack-compaction.ts'
import { PackLog } from './pack-log.ts'
import { PackSegments } from './pack-segments.ts'
import { PrimaryIndex } from './primary-index.ts'
import { Quarantine } from './quarantine.ts'
import type { WriteGate } from './store-health.ts'
import { StoreLayout } from './store-layout.ts'
import type { StoreLog } from './store-log.ts'
import type { StoreMetrics } from './store-metrics.ts'
import { type RebuildProgress, StoreRecovery } from './store-recovery.ts'

export interface StoreParts {
  layout: StoreLayout
  index: PrimaryIndex
  segments: PackSegments
  packLog: PackLog
  loose: LooseFiles
  locks: HashLocks
  buffers: BufferPool
  quarantine: Quarantine
  reader: BlobReader
  compaction: PackCompaction
  orphans: LooseOrphans
  close(): Promise<void>
}

interface Components {
  files: DiskFiles
  log: StoreLog
  metrics: StoreMetrics
  gate: WriteGate
  onCorrupt: (hash: string, reason: string) => void
  onProgress: (progress: RebuildProgress) => void
}

/** An index that shows its damage only now is marked, and built anew at the second try. */
export async function openStoreParts(
  components: Components,
  init: { dataDir: string; segmentBytesMax: number; signal?: AbortSignal | undefined },
): Promise<StoreParts> {
  try {
    return await openOnce(components, init)
  } catch (error) {
    if (!(error instanceof StorageUnavailableError)) throw error
    components.log.warn({ err: error }, 'the blob index is damaged and built anew')
    return openOnce(components, init)
  }
}

/**
 * Opens what lies below the data folder and wires it. The index lock comes before anything is
 * swept or cut: a second process must not touch the files of the first.
 */
async function openOnce(
  components: Components,
  init: { dataDir: string; segmentBytesMax: number; signal?: AbortSignal | undefined },
): Promise<StoreParts> {
  const { files, metrics, gate } = components
  const layout = new StoreLayout(init.dataDir)
  await layout.prepare(files, init.dataDir)
  const database = IndexDatabase.open(layout.indexPath)
  const segments = new PackSegments(
    { files },
    { directory: layout.packs, openMax: SEGMENT_FILES_OPEN_MAX },
  )
  try {
    await layout.sweepTemp(files)
    await segments.sweepUnfinished()
    const recovery = new StoreRecovery({ ...components, layout, segments, database }, init)
    const recovered = await recovery.run()
    const index = new PrimaryIndex(
      { database, onFlushFailed: (error) => void gate.refuse(error) },
      { pendingMax: INDEX_PENDING_MAX, flushMs: INDEX_FLUSH_MS },
    )
    const packLog = new PackLog(
      { segments, gate, metrics, publish: (records) => index.apply(records) },
      {
        segmentBytesMax: init.segmentBytesMax,
        batchBytesMax: BATCH_BYTES_MAX,
        batchRecordsMax: BATCH_RECORDS_MAX,
        overlapBytesMin: OVERLAP_BYTES_MIN,
        preallocateBytesMax: PREALLOCATE_BYTES_MAX,
        queueBytesMax: QUEUE_BYTES_MAX,
        queueRecordsMax: QUEUE_RECORDS_MAX,
      },
    )
    packLog.resume(recovered)
    const locks = new HashLocks()
    const hashPool = new HashPool()
    const buffers = new BufferPool()
    const shared = { ...components, layout, index, segments, packLog, locks, hashPool, buffers }
    const quarantine = new Quarantine(shared)
    for (const { hash, reason } of recovered.corrupt) quarantine.report(hash, reason)
    const close = async () => {
      await packLog.stop()
      segments.closeAll()
      await hashPool.stop()
      index.close()
    }
    const reader = new BlobReader({ ...shared, quarantine })
    return {
      layout,
      index,
      segments,
      packLog,
      loose: new LooseFiles(shared),
      locks,
      buffers,
      quarantine,
      reader,
      compaction: new PackCompaction({ ...shared, reader }, init),
      orphans: new LooseOrphans({ ...shared, quarantine }),
      close,
    }
  } catch (error) {
    database.close()
    throw error
  }
}

/** Writes what a put would write, everywhere a put writes. Throws while the disk refuses. */
export async function probeWrites(files: DiskFiles, parts: StoreParts): Promise<void> {
  const path = join(parts.layout.temp, 'probe')
  await files.unlink(path).catch(() => undefined)
  try {
    await writeNewFile(files, path, Buffer.alloc(PROBE_BYTES, 1))
  } finally {
    await files.unlink(path).catch(() => undefined)
  }
  await parts.packLog.reopen()
  parts.index.flush()
}
