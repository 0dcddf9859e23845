import type { Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'

import { ProtocolViolationError } from '../../shared/errors.ts'
import { framed, isEndOfStream, isFrameError } from '../mesh/framing.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { DATA_BYTES_MAX, RANGES_OUTSTANDING_MAX, SERVE_IDLE_TIMEOUT_MS } from './constants.ts'
import { toErrorMessage } from './range-error.ts'
import {
  decodeMessage,
  encodeMessage,
  REQUEST_MESSAGE_BYTES_MAX,
  type RangeMessage,
} from './range-message.ts'
import { readRange, type Range } from './range-source.ts'

const LENGTH_BYTES = 4

export interface RangeServerComponents {
  store: Pick<BlobStore, 'get'>
  onSent: (bytes: number) => void
  /** How long a peer may take to make room for one frame. */
  stallTimeoutMs: number
}

/**
 * Answers the ranges asked for on one stream, in order, until the peer closes it. Requests that
 * wait stay in the stream's buffer, which has room for those a peer may have outstanding and no
 * more. The data of one frame are in memory at a time: the next is read from the store when the
 * peer has made room.
 * @throws ProtocolViolationError for a peer that breaks the rules; resetting is the caller's part
 */
export async function serveRanges(
  stream: Stream,
  components: RangeServerComponents,
): Promise<void> {
  const gone = new AbortController()
  stream.addEventListener('close', () => gone.abort(), { once: true })
  const frames = framed(stream, {
    frameBytesMax: REQUEST_MESSAGE_BYTES_MAX,
    bufferBytesMax: RANGES_OUTSTANDING_MAX * (LENGTH_BYTES + REQUEST_MESSAGE_BYTES_MAX),
  })
  for (;;) {
    const range = await nextRange(frames)
    if (!range) break
    await serveRange(frames, range, components, gone.signal)
  }
  await stream.close({ signal: AbortSignal.timeout(components.stallTimeoutMs) })
}

async function nextRange(frames: LengthPrefixedStream<Stream>): Promise<Range | undefined> {
  const signal = AbortSignal.timeout(SERVE_IDLE_TIMEOUT_MS)
  let bytes: Uint8Array
  try {
    bytes = (await frames.read({ signal })).subarray()
  } catch (error) {
    if (isEndOfStream(error) || signal.aborted) return undefined
    if (!isFrameError(error)) throw error
    throw new ProtocolViolationError('The peer sent something that is no request.', {
      cause: error,
    })
  }
  const message = decodeMessage(bytes)
  if (message.type !== 'range') {
    throw new ProtocolViolationError('The peer sent an answer where a request belongs.')
  }
  return message
}

async function serveRange(
  frames: LengthPrefixedStream<Stream>,
  range: Range,
  components: RangeServerComponents,
  gone: AbortSignal,
): Promise<void> {
  const send = async (message: RangeMessage): Promise<void> => {
    const signal = AbortSignal.any([gone, AbortSignal.timeout(components.stallTimeoutMs)])
    await frames.write(encodeMessage(message), { signal })
  }
  const source = readRange(range, components.store, {
    dataBytesMax: DATA_BYTES_MAX,
    signal: gone,
  })
  try {
    for (;;) {
      let next: IteratorResult<RangeMessage, void>
      try {
        next = await source.next()
      } catch (error) {
        gone.throwIfAborted()
        await send(toErrorMessage(error))
        return
      }
      if (next.done) return
      await send(next.value)
      if (next.value.type === 'data') components.onSent(next.value.bytes.length)
    }
  } finally {
    await source.return()
  }
}
