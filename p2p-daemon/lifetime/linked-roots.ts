import { PeerUnreachableError } from '../../shared/errors.ts'
import { concurrently } from '../../shared/thread/concurrently.ts'
import type { RecordStore } from '../records/record-store.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { HEADS_PER_PAGE, HEADS_READ_AT_ONCE_MAX, ROOTS_PER_PAGE_MAX } from './constants.ts'
import type { RootPage, RootSource } from './root-source.ts'

export interface LinkedRootsComponents {
  records: Pick<RecordStore, 'contentsOfType'>
  /** Finds a content also where it lies with other nodes alone. */
  blobs: Pick<BlobStore, 'get'>
}

/** Contents of addresses that keep other blobs. */
export interface LinkingContent {
  /** Of the source; it stays. */
  name: string
  /** By it such an address is known from others. */
  mediaType: string
  /** What is larger is no such content. */
  bytesMax: number
  /** The blobs that it keeps; none where somebody only called it by the media type. */
  linksOf: (bytes: Buffer) => string[]
}

/**
 * What contents of one kind link to, of all versions of all addresses that this node holds. One
 * that cannot be read now ends the collection: what it links to might be deleted otherwise.
 */
export function linkedRoots(
  { records, blobs }: LinkedRootsComponents,
  kind: LinkingContent,
): RootSource {
  return {
    name: kind.name,
    page: async (after, signal): Promise<RootPage> => {
      const rows = records.contentsOfType(kind.mediaType, Number(after || 0), HEADS_PER_PAGE)
      const hashes: string[] = []
      let last = Number(after || 0)
      for (let at = 0; at < rows.length; at += HEADS_READ_AT_ONCE_MAX) {
        const some = rows.slice(at, at + HEADS_READ_AT_ONCE_MAX)
        const read = ({ content }: { content: string }) => rootsOf(blobs, content, kind, signal)
        const roots = await concurrently(some, HEADS_READ_AT_ONCE_MAX, read)
        for (const [index, more] of roots.entries()) {
          if (hashes.length + more.length > ROOTS_PER_PAGE_MAX)
            return { hashes, next: String(last) }
          hashes.push(...more)
          last = some[index]!.sequence
        }
      }
      return { hashes, next: rows.length < HEADS_PER_PAGE ? null : String(last) }
    },
  }
}

async function rootsOf(
  blobs: Pick<BlobStore, 'get'>,
  hash: string,
  { name, bytesMax, linksOf }: LinkingContent,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const bytes = await read(blobs, hash, bytesMax, signal).catch((error: unknown) => {
    signal?.throwIfAborted()
    throw new PeerUnreachableError(`${hash}, which keeps ${name}, cannot be read.`, {
      cause: error,
    })
  })
  return bytes === undefined ? [] : linksOf(bytes)
}

/** Undefined for what is too large. */
async function read(
  blobs: Pick<BlobStore, 'get'>,
  hash: string,
  bytesMax: number,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  const blob = await blobs.get(hash, signal ? { signal } : {})
  const chunks: Uint8Array[] = []
  for await (const chunk of blob.body) {
    if (blob.sizeBytes > bytesMax) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
