import { parseAddress } from '../address/address.ts'
import type { CallOptions, DaemonClient } from '../daemon/daemon-client.ts'
import type { BzzzDatabase } from '../db/database.ts'
import { InvalidRecordError } from '../errors.ts'
import { PAGE_SIZE_MAX } from '../limits.ts'
import type { RecordJSON } from '../record/record.ts'
import { decodeExchanges, EXCHANGES_BYTES_MAX, EXCHANGES_MEDIA_TYPE } from './exchange.ts'
import { NO_USAGE } from './model-usage.ts'
import { createUsageRow, type UsageRow } from './usage-row.ts'
import { insertUsage } from './usage-store.ts'

/** Batches that cannot be read and are named; where there are more, the first ones will do. */
const DAMAGED_MAX = 100

export interface RebuildComponents {
  daemon: Pick<DaemonClient, 'search' | 'getBlob'>
  db: BzzzDatabase
}

export interface RebuildOptions extends CallOptions {
  /** All that the token covers when absent. */
  project?: string | undefined
  /** Only calls that began since. */
  since?: Date | undefined
  /** `done` of the page that is read; how many pages there are is not known. */
  onBatch?: (address: string, done: number, of: number) => void
}

export interface RebuiltUsage {
  batches: number
  /** Calls that the batches hold. */
  calls: number
  /** Of these, those that had no row. */
  rows: number
  /** Batches that are gone, or not what they should be. */
  damaged: string[]
  /** Some nodes did not answer: batches that only they know are missing. */
  partial: boolean
}

/**
 * Writes the usage rows that the database lacks from the exchanges on the nodes' disks, each under
 * the id that it had. What is there is left alone, so it may be ended and begun again.
 */
export async function rebuildUsage(
  { daemon, db }: RebuildComponents,
  { project = '*', since, onBatch, ...options }: RebuildOptions,
): Promise<RebuiltUsage> {
  const result: RebuiltUsage = { batches: 0, calls: 0, rows: 0, damaged: [], partial: false }
  let after: string | undefined
  do {
    const place = after === undefined ? {} : { after }
    const query = { ...options, ...place, limit: PAGE_SIZE_MAX }
    const { records, next, partial } = await daemon.search(
      `bzzz://*@${project}/exchanges/**`,
      query,
    )
    result.partial ||= partial
    for (const [index, record] of records.entries()) {
      options.signal?.throwIfAborted()
      if (record.mediaType !== EXCHANGES_MEDIA_TYPE) continue
      // Written when the last of its calls had ended.
      if (since && new Date(record.timestamp) < since) continue
      onBatch?.(record.address, index, records.length)
      const rows = await readRows(daemon, record, options)
      if (!rows) {
        if (result.damaged.length < DAMAGED_MAX) result.damaged.push(record.address)
        continue
      }
      const wanted = since ? rows.filter(({ at }) => new Date(at) >= since) : rows
      result.batches += 1
      result.calls += wanted.length
      result.rows += await insertUsage(db, wanted)
    }
    after = next ?? undefined
  } while (after !== undefined)
  return result
}

/** Null for a batch that is gone, or that says something of others than its address. */
async function readRows(
  daemon: RebuildComponents['daemon'],
  { address, hash, size }: RecordJSON,
  options: CallOptions,
): Promise<UsageRow[] | null> {
  if (size > EXCHANGES_BYTES_MAX) return null
  try {
    const { body } = await daemon.getBlob(hash, options)
    const exchanges = decodeExchanges(Buffer.from(await body.arrayBuffer()))
    const named = parseAddress(address)
    return exchanges.map(({ id, at, tokenId, subject, project, agent, ...call }) => {
      const isOf = named.kind === 'semantic' && named.project === project && named.agent === agent
      if (!isOf) throw new InvalidRecordError('An exchange of somebody else.')
      const { path, model, servedModel, upstream, peer, status, outcome, cached } = call
      const { costNanoUsd, priced, priceMap, firstByteMs, totalMs } = call
      return createUsageRow({
        ...{ id, at, tokenId, subject, project, agent, path, model, servedModel, upstream, peer },
        ...{
          status,
          outcome,
          cached,
          usage: call.usage ?? NO_USAGE,
          costNanoUsd,
          priced,
          priceMap,
        },
        ...{ firstByteMs, totalMs, exchange: `${address}#${id}` },
      })
    })
  } catch (error) {
    options.signal?.throwIfAborted()
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'BZZZ_RECORD_INVALID' || code === 'BZZZ_BLOB_NOT_FOUND') return null
    throw error
  }
}
