import type { RecordStore } from '../records/record-store.ts'
import type { Clock } from '../clock.ts'
import { ROOTS_PER_PAGE_MAX } from './constants.ts'
import type { PinStore } from './pin-store.ts'

export interface RootPage {
  /** Hashes that must be kept; repetitions do no harm. */
  hashes: string[]
  /** Where the next page begins; null after the last one. */
  next: string | null
}

/**
 * One reason to keep blobs. A node without a source that another one has cannot vouch for all of
 * its roots, so a source is only ever added, under a name that stays.
 *
 * Everything that was there when the first page was asked for must be on one of the pages; what
 * comes later may be missing. What it names must have been put or touched before it was written.
 */
export interface RootSource {
  readonly name: string
  /** The first page is asked for with ''. At most ROOTS_PER_PAGE_MAX hashes. */
  page(after: string, signal?: AbortSignal): RootPage | Promise<RootPage>
}

/** The record itself is a blob, and it names its content: two roots a version. */
const RECORDS_PER_PAGE = ROOTS_PER_PAGE_MAX / 2

/** Every version of every address that this node holds. */
export function recordRoots(store: Pick<RecordStore, 'contents'>): RootSource {
  return {
    name: 'records',
    page: (after) => {
      const rows = store.contents(Number(after || 0), RECORDS_PER_PAGE)
      return {
        hashes: rows.flatMap(({ record, content }) => [record, content]),
        next: nextOf(rows, RECORDS_PER_PAGE),
      }
    },
  }
}

/** Explicit pins and leases that have not expired. */
export function pinRoots(store: Pick<PinStore, 'roots'>, clock: Clock): RootSource {
  return {
    name: 'pins',
    page: (after) => {
      const rows = store.roots(Number(after || 0), ROOTS_PER_PAGE_MAX, clock.now())
      return { hashes: rows.map(({ hash }) => hash), next: nextOf(rows, ROOTS_PER_PAGE_MAX) }
    },
  }
}

/** Rows by sequence number: whatever is written meanwhile comes behind the cursor. */
function nextOf(rows: readonly { sequence: number }[], limit: number): string | null {
  const last = rows.at(-1)
  return last === undefined || rows.length < limit ? null : String(last.sequence)
}
