import { BATCH_BLOB_BYTES_MAX, fitsBatch } from '../../shared/blob/batch.ts'
import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { concurrently } from '../../shared/thread/concurrently.ts'
import { followChunk, type StoredEntry } from '../../shared/v1/stored-chunk.ts'
import { readBlobFrom } from './blob-reader.ts'
import { PAGE_ENTRIES, PAGES_AT_ONCE_MAX } from './constants.ts'
import type { EntryStore, StoredPlace } from './entry-store.ts'
import type { ChunkName, ImportStore } from './import-store.ts'

export interface VerifyStepComponents {
  /** Another node than the one that entries were written through, where there is one. */
  daemon: Pick<DaemonClient, 'getBlob' | 'getBlobs'>
  imports: Pick<ImportStore, 'chunk' | 'setVerified'>
  entries: Pick<EntryStore, 'ofChain'>
}

export interface Verified {
  entries: number
  /** Nodes that the bytes came from. */
  servedBy: string[]
}

/** Fetches every entry of a chunk, hashes it again, and verifies the chain from those bytes. */
export class VerifyStep {
  readonly #components: VerifyStepComponents

  constructor(components: VerifyStepComponents) {
    this.#components = components
  }

  /** @throws LogBrokenError, HashMismatchError, RemoteError */
  async run(name: ChunkName, options: CallOptions): Promise<Verified> {
    const { imports, entries: store } = this.#components
    const place = await imports.chunk(name)
    const rows = await store.ofChain(place.author, place.start, place.entries)
    const servedBy = new Set<string>()
    followChunk(place, await this.#fetch(rows, servedBy, options))
    await imports.setVerified(name, [...servedBy])
    return { entries: place.entries, servedBy: [...servedBy] }
  }

  async #fetch(
    rows: readonly StoredPlace[],
    servedBy: Set<string>,
    options: CallOptions,
  ): Promise<StoredEntry[]> {
    const { daemon } = this.#components
    const pages = pagesOf(rows)
    const read = await concurrently(pages, PAGES_AT_ONCE_MAX, async (page) => {
      const [first] = page
      if (page.length === 1 && first!.sizeBytes > BATCH_BLOB_BYTES_MAX) {
        const { bytes, servedBy: node } = await readBlobFrom(daemon, first!.blob, options)
        servedBy.add(node)
        return [bytes]
      }
      const hashes = page.map(({ blob }) => blob)
      const { blobs, servedBy: node } = await daemon.getBlobs(hashes, options)
      servedBy.add(node)
      return blobs
    })
    const bytes = read.flat()
    return pages
      .flat()
      .map(({ position, hash }, index) => ({ position, hash, bytes: bytes[index]! }))
  }
}

/** Pages that each fit one answer; an entry that fits none is a page of its own. */
function pagesOf(rows: readonly StoredPlace[]): StoredPlace[][] {
  const small = rows.filter(({ sizeBytes }) => sizeBytes <= BATCH_BLOB_BYTES_MAX)
  const large = rows.filter(({ sizeBytes }) => sizeBytes > BATCH_BLOB_BYTES_MAX)
  const pages = Array.from({ length: Math.ceil(small.length / PAGE_ENTRIES) }, (_, page) =>
    small.slice(page * PAGE_ENTRIES, (page + 1) * PAGE_ENTRIES),
  ).flatMap((page) =>
    fitsBatch(page.map(({ sizeBytes }) => sizeBytes)) ? [page] : page.map((row) => [row]),
  )
  return [...pages, ...large.map((row) => [row])]
}
