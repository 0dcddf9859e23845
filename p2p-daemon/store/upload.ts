import { BodyTooLargeError, UploadCutError } from '../../shared/errors.ts'
import type { PutOptions } from './blob-store.ts'
import type { BufferPool } from './buffer-pool.ts'
import { BLOB_BYTES_MAX, CHUNK_BYTES } from './constants.ts'

/** The limits of the put for bytes that are all here. */
export function assertWithinLimits(sizeBytes: number, options: PutOptions): void {
  const gate = new SizeGate(options)
  gate.add(sizeBytes)
  gate.end()
}

/**
 * The source of a put as chunks of exactly CHUNK_BYTES (the last may be shorter), with the limits
 * of the put enforced on the way. A blob without bytes yields no chunk. What has to be joined is
 * joined in memory from `buffers`, for the caller to give back.
 */
export async function* uploadChunks(
  source: AsyncIterable<Uint8Array> | Uint8Array,
  options: PutOptions,
  buffers: BufferPool,
): AsyncGenerator<Uint8Array> {
  if (source instanceof Uint8Array) {
    assertWithinLimits(source.byteLength, options)
    for (let at = 0; at < source.byteLength; at += CHUNK_BYTES) {
      yield source.subarray(at, at + CHUNK_BYTES)
    }
    return
  }
  const gate = new SizeGate(options)
  let pieces: Uint8Array[] = []
  let gathered = 0
  for await (const piece of source) {
    options.signal?.throwIfAborted()
    gate.add(piece.byteLength)
    let rest = piece
    while (gathered + rest.byteLength >= CHUNK_BYTES) {
      const missing = CHUNK_BYTES - gathered
      yield joined([...pieces, rest.subarray(0, missing)], buffers)
      rest = rest.subarray(missing)
      pieces = []
      gathered = 0
    }
    if (rest.byteLength > 0) {
      pieces.push(rest)
      gathered += rest.byteLength
    }
  }
  options.signal?.throwIfAborted()
  gate.end()
  if (gathered > 0) yield joined(pieces, buffers)
}

function joined(pieces: readonly Uint8Array[], buffers: BufferPool): Uint8Array {
  const [first] = pieces
  if (pieces.length === 1 && first !== undefined) return first
  const whole = buffers.take(pieces.reduce((sum, piece) => sum + piece.byteLength, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.byteLength
  }
  return whole
}

/** Counts what arrives and refuses too much at once, too little at the end. */
class SizeGate {
  readonly #max: number
  readonly #expected: number | undefined
  #arrived = 0

  constructor(options: PutOptions) {
    options.signal?.throwIfAborted()
    this.#max = Math.min(options.sizeBytesMax ?? BLOB_BYTES_MAX, BLOB_BYTES_MAX)
    this.#expected = options.expectedSizeBytes
  }

  add(sizeBytes: number): void {
    this.#arrived += sizeBytes
    if (this.#arrived > this.#max) {
      throw new BodyTooLargeError(`The blob is larger than the ${this.#max} bytes allowed.`)
    }
    if (this.#expected !== undefined && this.#arrived > this.#expected) {
      throw new UploadCutError(`More than the ${this.#expected} announced bytes arrived.`)
    }
  }

  end(): void {
    if (this.#expected !== undefined && this.#arrived !== this.#expected) {
      throw new UploadCutError(`${this.#arrived} of the ${this.#expected} announced bytes arrived.`)
    }
  }
}
