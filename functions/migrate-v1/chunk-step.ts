import { BATCH_BLOB_BYTES_MAX, splitBatches } from '../../shared/blob/batch.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { HashMismatchError, InvalidChunkError } from '../../shared/errors.ts'
import { readChunk, type ChunkEntry } from '../../shared/v1/chunk.ts'
import { conversationOf, type Conversation } from '../../shared/v1/conversation.ts'
import { readBlob } from './blob-reader.ts'
import { MESSAGE_ID_CHARS_MAX, PUT_ENTRIES } from './constants.ts'
import type { EntryStore, IndexedEntry } from './entry-store.ts'
import type { ChunkName, ImportStore } from './import-store.ts'

export interface ChunkStepComponents {
  daemon: Pick<DaemonClient, 'getBlob' | 'putBlob' | 'putBlobs'>
  imports: Pick<ImportStore, 'chunk'>
  entries: Pick<EntryStore, 'addChunk'>
}

/**
 * Imports one chunk: verifies it from its bytes, stores every entry as a blob of its exact bytes
 * on a quorum, then indexes all of them and the checkpoint in one transaction. A crash before that
 * leaves blobs that the next attempt stores again, which changes nothing.
 */
export class ChunkStep {
  readonly #components: ChunkStepComponents

  constructor(components: ChunkStepComponents) {
    this.#components = components
  }

  /** @throws InvalidChunkError, RemoteError */
  async run(name: ChunkName, options: CallOptions): Promise<{ entries: number }> {
    const { daemon, imports, entries: store } = this.#components
    const row = await imports.chunk(name)
    if (row.done_at !== null) return { entries: row.entries }
    const { header, entries, head } = readChunk(await readBlob(daemon, row.blob, options))
    const same =
      header.author === row.author &&
      header.genesis === row.genesis &&
      header.chunk === row.chunk &&
      header.start === row.start &&
      header.entries === row.entries &&
      header.previous === row.previous &&
      head === row.head
    if (!same) throw new InvalidChunkError('The chunk is not the one that was announced.')
    const blobs = await this.#store(entries, options)
    const conversations = new Map<string, Conversation>()
    const rows = entries.map((one, index) => {
      const chain = { author: header.author, genesisHash: header.genesis }
      const conversation = conversationOf(one.derived, chain)
      conversations.set(conversation.key, conversation)
      return toRow(one, blobs[index]!, conversation.key)
    })
    await store.addChunk(name, rows, [...conversations.values()])
    return { entries: entries.length }
  }

  /** The hashes of their blobs, in order. What the daemon says it stored is compared with them. */
  async #store(entries: readonly ChunkEntry[], options: CallOptions): Promise<string[]> {
    const { daemon } = this.#components
    const hashes = entries.map(({ entry }) => hashBytes(entry.bytes))
    const small = entries.filter(({ entry }) => entry.bytes.length <= BATCH_BLOB_BYTES_MAX)
    const stored: string[] = []
    for (let from = 0; from < small.length; from += PUT_ENTRIES) {
      const some = small.slice(from, from + PUT_ENTRIES).map(({ entry }) => entry.bytes)
      for (const batch of splitBatches(some)) {
        stored.push(...(await daemon.putBlobs(batch, options)).map(({ hash }) => hash))
      }
    }
    for (const { entry } of entries) {
      const { bytes } = entry
      if (bytes.length <= BATCH_BLOB_BYTES_MAX) continue
      const { hash } = await daemon.putBlob(once(bytes), { ...options, sizeBytes: bytes.length })
      stored.push(hash)
    }
    const known = new Set(stored)
    if (!hashes.every((hash) => known.has(hash))) {
      throw new HashMismatchError('The daemon stored something else than it was sent.')
    }
    return hashes
  }
}

async function* once(bytes: Buffer): AsyncIterable<Uint8Array> {
  yield bytes
}

function toRow(
  { entry, position, derived, orderedAt }: ChunkEntry,
  blob: string,
  thread: string,
): IndexedEntry {
  return {
    author: entry.author,
    position,
    hash: entry.hash,
    blob,
    sizeBytes: entry.bytes.length,
    type: entry.type.replaceAll('\0', '\ufffd'),
    writtenAt: entry.timestamp,
    orderedAt,
    thread,
    messageId: plainId(derived.messageId),
    parentId: plainId(derived.parentId),
  }
}

/** Postgres takes no NUL and no half of a surrogate pair; ids of v1 have neither. */
function plainId(id: string | null): string | null {
  const isPlain = id !== null && id.length <= MESSAGE_ID_CHARS_MAX && id.isWellFormed()
  return isPlain && !id.includes('\0') ? id : null
}
