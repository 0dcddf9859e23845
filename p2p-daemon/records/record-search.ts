import { parsePattern } from '../../shared/address/pattern.ts'
import { REPLICAS } from '../../shared/limits.ts'
import { compareRecords, type AddressRecord } from '../../shared/record/record.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { CONFLICTS_PER_PAGE_MAX, RECORDS_PER_FRAME_MAX } from './constants.ts'
import type { RecordLookup } from './record-lookup.ts'
import type { RecordPeers } from './record-peers.ts'
import type { RecordStore } from './record-store.ts'

export interface SearchQuery {
  /** A search as it is written: `bzzz://*@apollo/plans/**`. */
  pattern: string
  /** Project patterns that the caller's token covers. */
  projects: readonly string[]
  /** Where the page begins: `next` of the one before, or ''. */
  after: string
  limit: number
}

export interface Page<T> {
  items: T[]
  /** Where the next page begins; null on the last. */
  next: string | null
  /** So many nodes are away that addresses may be missing. */
  partial: boolean
}

/** An address that a partition split. */
export interface Conflict {
  /** The head first, then the other ends. */
  ends: AddressRecord[]
}

export interface RecordSearchComponents {
  store: RecordStore
  peers: RecordPeers
  lookup: Pick<RecordLookup, 'ends'>
  ownership: Pick<Ownership, 'accepts'>
}

/**
 * Addresses by their parts, from what the nodes hold: no database is asked. Each address lies on
 * three nodes, so in a larger cluster everybody is asked and the answers are put together.
 */
export class RecordSearch {
  readonly #components: RecordSearchComponents

  constructor(components: RecordSearchComponents) {
    this.#components = components
  }

  /** Heads in the order of their names. @throws InvalidAddressError */
  find(query: SearchQuery, signal?: AbortSignal): Promise<Page<AddressRecord>> {
    return this.#search({ ...query, projects: [...query.projects], forked: false }, signal)
  }

  /** Addresses with forks, and the ends to pick from. @throws InvalidAddressError */
  async conflicts(query: SearchQuery, signal?: AbortSignal): Promise<Page<Conflict>> {
    const limit = Math.min(query.limit, CONFLICTS_PER_PAGE_MAX)
    const page = await this.#search(
      { ...query, projects: [...query.projects], limit, forked: true },
      signal,
    )
    const ends = page.items.map(({ address }) => this.#components.lookup.ends(address, signal))
    // What one node still calls a fork may be settled on another.
    const forked = (await Promise.all(ends)).filter((each) => each.length > 1)
    return { ...page, items: forked.map((each) => ({ ends: each })) }
  }

  async #search(
    query: SearchQuery & { projects: string[]; forked: boolean },
    signal?: AbortSignal,
  ): Promise<Page<AddressRecord>> {
    const { store, peers } = this.#components
    const limit = Math.min(query.limit, RECORDS_PER_FRAME_MAX)
    const local = store
      .search({ ...query, pattern: parsePattern(query.pattern), limit })
      .map(({ name }) => store.head(name))
      .filter((record) => record !== undefined)
    const request = { op: 'search', ...query, limit } as const
    const answers = await peers.gather(peers.others(), request, signal)
    const pages = [local, ...answers.map(({ records }) => records)]
    const forbidden = answers.flatMap(({ peerId, records }) =>
      records.filter((record) => !this.#components.ownership.accepts(record, peerId)),
    )
    const items = mergePages(pages, limit, new Set(forbidden)).filter(
      ({ address }) => address > query.after,
    )
    const isLast = pages.every((page) => page.length < limit) && countNames(pages) <= limit
    return {
      items,
      next: isLast ? null : (items.at(-1)?.address ?? null),
      partial: peers.expected() - answers.length >= REPLICAS,
    }
  }
}

/**
 * The first `limit` names of several ordered pages, each with the record that stands. Beyond the
 * end of a full page its node may know names that it did not tell, so nothing there is taken.
 */
function mergePages(
  pages: readonly AddressRecord[][],
  limit: number,
  forbidden: ReadonlySet<AddressRecord>,
): AddressRecord[] {
  const horizons = pages.filter((page) => page.length >= limit).map((page) => page.at(-1)!.address)
  const horizon = horizons.toSorted()[0]
  const best = new Map<string, AddressRecord>()
  for (const record of pages.flat()) {
    if (forbidden.has(record)) continue
    if (horizon !== undefined && record.address > horizon) continue
    const other = best.get(record.address)
    if (!other || compareRecords(record, other) < 0) best.set(record.address, record)
  }
  const byName = (a: AddressRecord, b: AddressRecord): number => (a.address < b.address ? -1 : 1)
  return [...best.values()].toSorted(byName).slice(0, limit)
}

function countNames(pages: readonly AddressRecord[][]): number {
  return new Set(pages.flat().map(({ address }) => address)).size
}
