import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { followChunk, type StoredEntry } from '../../shared/v1/stored-chunk.ts'
import { readBlobFrom } from './blob-reader.ts'
import { READS_AT_ONCE_MAX } from './constants.ts'
import type { EntryStore, IndexedEntry } from './entry-store.ts'
import type { ChunkName, ImportStore } from './import-store.ts'

export interface VerifyStepComponents {
  /** Another node than the one that entries were written through, where there is one. */
  daemon: Pick<DaemonClient, 'getBlob'>
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
    await imports.setVerified(name)
    return { entries: place.entries, servedBy: [...servedBy] }
  }

  async #fetch(
    rows: readonly IndexedEntry[],
    servedBy: Set<string>,
    options: CallOptions,
  ): Promise<StoredEntry[]> {
    const { daemon } = this.#components
    const contents: Buffer[] = []
    let next = 0
    const work = async () => {
      for (let index = next++; index < rows.length; index = next++) {
        options.signal?.throwIfAborted()
        const read = await readBlobFrom(daemon, rows[index]!.blob, options)
        contents[index] = read.bytes
        servedBy.add(read.servedBy)
      }
    }
    await Promise.all(Array.from({ length: READS_AT_ONCE_MAX }, work))
    return rows.map(({ position, hash }, index) => ({ position, hash, bytes: contents[index]! }))
  }
}
