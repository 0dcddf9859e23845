import type { MessageStream } from '@libp2p/interface'
import { lpStream, type LengthPrefixedStream } from '@libp2p/utils'

import { InvalidRecordError, ProtocolViolationError } from '../../shared/errors.ts'

const LENGTH_BYTES = 4

/**
 * The reader takes a RangeError as "not all of it is here yet" and asks after every byte. Made
 * once: three new errors with their stacks for every frame cost as much as copying the frame.
 */
const INCOMPLETE = new RangeError('The length is not complete.')

/**
 * Frames on a stream: four bytes of length, big-endian, then as many bytes. A longer frame than
 * `frameBytesMax` is refused unread and unread bytes beyond `bufferBytesMax` reset the stream, so
 * no peer can fill this node's memory. Iterating over a stream has neither bound, see lpStream.
 *
 * `write` waits for a drain of its own when the window is full; `stream.onDrain()` waits only once.
 */
export function framed<S extends MessageStream>(
  stream: S,
  init: { frameBytesMax: number; bufferBytesMax?: number },
): LengthPrefixedStream<S> {
  return lpStream(stream, {
    maxDataLength: init.frameBytesMax,
    maxLengthLength: LENGTH_BYTES,
    maxBufferSize: init.bufferBytesMax ?? init.frameBytesMax + LENGTH_BYTES,
    lengthEncoder: encodeLength,
    lengthDecoder: decodeLength,
  })
}

/** True for what `read` throws when the other side sent something that is no frame. */
export function isFrameError(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'InvalidDataLengthError' || error.name === 'StreamBufferError')
  )
}

/** True when the other side closed instead of sending another frame, or in the middle of one. */
export function isEndOfStream(error: unknown): boolean {
  return error instanceof Error && error.name === 'UnexpectedEOFError'
}

function encodeLength(length: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES)
  new DataView(bytes.buffer).setUint32(0, length)
  return bytes
}

function decodeLength(bytes: { byteLength: number; getUint32(offset: number): number }): number {
  if (bytes.byteLength < LENGTH_BYTES) throw INCOMPLETE
  return bytes.getUint32(0)
}

/** What only a peer that is broken or means harm sends. */
export function isViolation(error: unknown): boolean {
  const isOurs = error instanceof ProtocolViolationError || error instanceof InvalidRecordError
  return isOurs || isFrameError(error)
}
