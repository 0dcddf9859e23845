import type { CallOptions, DaemonClient } from '../daemon/daemon-client.ts'
import { NotAThreadError } from '../errors.ts'
import { PAGE_SIZE_MAX } from '../limits.ts'
import type { CatchUp } from './catch-up.ts'
import { PROBLEMS_MAX } from './constants.ts'
import { THREAD_MEDIA_TYPE } from './head.ts'
import type { IndexedThread, ThreadIndex } from './thread-index.ts'

export interface ReindexComponents {
  daemon: Pick<DaemonClient, 'search'>
  index: Pick<ThreadIndex, 'forget'>
  catchUp: Pick<CatchUp, 'bring'>
}

export interface ReindexOptions extends CallOptions {
  /** Forget what the index has of a thread before it is read. */
  afresh?: boolean
  onThread?: (address: string, done: number) => void
  onVersions?: (done: number, of: number) => void
}

export interface Reindexed {
  threads: number
  messages: number
  /** Blobs that are gone, or not what they should be: `verify` of the thread says more. */
  damaged: { address: string; hash: string }[]
  /** Some nodes did not answer: threads that only they know are missing. */
  partial: boolean
}

/** Every address there is. */
const EVERYTHING = 'bzzz://*:*@*:*/'

/**
 * Reads every thread into the index: from the records of all addresses to their heads to their
 * messages. What is there is left alone, so it may be ended and begun again.
 */
export async function reindexThreads(
  { daemon, index, catchUp }: ReindexComponents,
  { afresh = false, onThread, onVersions, ...options }: ReindexOptions,
): Promise<Reindexed> {
  const result: Reindexed = { threads: 0, messages: 0, damaged: [], partial: false }
  const read = async (address: string): Promise<IndexedThread | undefined> => {
    const onDamage = (hash: string): void => {
      if (result.damaged.length < PROBLEMS_MAX) result.damaged.push({ address, hash })
    }
    const told = { onDamage, ...(onVersions && { onVersions }) }
    try {
      return (await catchUp.bring(address, { ...options, ...told, whole: true })).thread
    } catch (error) {
      // Not even one head of it can be read.
      if (error instanceof NotAThreadError) return undefined
      throw error
    }
  }
  let after: string | undefined
  do {
    const place = after === undefined ? {} : { after }
    const query = { ...options, ...place, limit: PAGE_SIZE_MAX }
    const { records, next, partial } = await daemon.search(EVERYTHING, query)
    result.partial ||= partial
    for (const { address, mediaType } of records) {
      options.signal?.throwIfAborted()
      if (mediaType !== THREAD_MEDIA_TYPE) continue
      onThread?.(address, result.threads)
      if (afresh) await index.forget(address)
      const thread = await read(address)
      result.threads += 1
      result.messages += thread?.messages ?? 0
    }
    after = next ?? undefined
  } while (after !== undefined)
  return result
}
