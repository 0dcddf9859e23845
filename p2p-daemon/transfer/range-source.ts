import { RangeNotSatisfiableError } from '../../shared/errors.ts'
import type { BlobRead, BlobStore } from '../store/blob-store.ts'
import type { RangeMessage } from './range-message.ts'

export type Range = Extract<RangeMessage, { type: 'range' }>
type Answer = Extract<RangeMessage, { type: 'head' | 'data' }>

/**
 * The messages that answer a range, read from the store as they are asked for; no data are longer
 * than `dataBytesMax`. Throws what the store throws.
 */
export async function* readRange(
  range: Range,
  store: Pick<BlobStore, 'get'>,
  init: { dataBytesMax: number; signal: AbortSignal },
): AsyncGenerator<Answer, void, void> {
  const { hash, start, length } = range
  const { dataBytesMax, signal } = init
  let blob: BlobRead
  try {
    blob = await store.get(hash, { start, end: start + length - 1, signal })
  } catch (error) {
    // The end of a blob is where a resumed transfer may begin, and the empty one has only an end.
    if (!(error instanceof RangeNotSatisfiableError) || error.sizeBytes !== start) throw error
    yield { type: 'head', sizeBytes: start, start, length: 0 }
    return
  }
  yield { type: 'head', sizeBytes: blob.sizeBytes, start, length: blob.end + 1 - start }
  for await (const chunk of blob.body) {
    for (let offset = 0; offset < chunk.length; offset += dataBytesMax) {
      yield { type: 'data', bytes: chunk.subarray(offset, offset + dataBytesMax) }
    }
  }
}
