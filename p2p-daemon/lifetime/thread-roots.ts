import { InvalidMessageError, PeerUnreachableError } from '../../shared/errors.ts'
import { concurrently } from '../../shared/thread/concurrently.ts'
import { HEAD_BYTES_MAX } from '../../shared/thread/constants.ts'
import { decodeHead, THREAD_MEDIA_TYPE } from '../../shared/thread/head.ts'
import type { RecordStore } from '../records/record-store.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { HEADS_PER_PAGE, HEADS_READ_AT_ONCE_MAX, ROOTS_PER_PAGE_MAX } from './constants.ts'
import type { RootPage, RootSource } from './root-source.ts'

export interface ThreadRootsComponents {
  records: Pick<RecordStore, 'contentsOfType'>
  /** Finds a head also where it lies with other nodes alone. */
  blobs: Pick<BlobStore, 'get'>
}

/**
 * The messages of threads and their contents. Each version of a thread's head lists what it added,
 * so the heads of all versions list everything. A head that cannot be read now ends the
 * collection: what it lists might be deleted otherwise.
 */
export function threadRoots({ records, blobs }: ThreadRootsComponents): RootSource {
  return {
    name: 'threads',
    page: async (after, signal): Promise<RootPage> => {
      const rows = records.contentsOfType(THREAD_MEDIA_TYPE, Number(after || 0), HEADS_PER_PAGE)
      const hashes: string[] = []
      let last = Number(after || 0)
      for (let at = 0; at < rows.length; at += HEADS_READ_AT_ONCE_MAX) {
        const some = rows.slice(at, at + HEADS_READ_AT_ONCE_MAX)
        const read = ({ content }: { content: string }) => rootsOf(blobs, content, signal)
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
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const bytes = await read(blobs, hash, signal).catch((error: unknown) => {
    signal?.throwIfAborted()
    throw new PeerUnreachableError(`The head ${hash} of a thread cannot be read.`, { cause: error })
  })
  if (bytes === undefined) return []
  try {
    const { added, contents } = decodeHead(bytes)
    return [...added, ...contents]
  } catch (error) {
    // Somebody called it a thread, and it is none: it names nothing.
    if (error instanceof InvalidMessageError) return []
    throw error
  }
}

/** Undefined for what is too large to be a head. */
async function read(
  blobs: Pick<BlobStore, 'get'>,
  hash: string,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  const blob = await blobs.get(hash, signal ? { signal } : {})
  const chunks: Uint8Array[] = []
  for await (const chunk of blob.body) {
    if (blob.sizeBytes > HEAD_BYTES_MAX) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
