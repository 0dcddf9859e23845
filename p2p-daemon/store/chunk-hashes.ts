import { type BlobHasher, createHasher, hashBytes } from '../../shared/blob/hash.ts'
import { chunkHashesBytes } from './blob-location.ts'

const HASH_BYTES = 32

/**
 * The hashes of the chunks of a loose blob, made while it was put, so that a range is verified
 * without reading the rest. On disk: 32 bytes a chunk, then a seal, the BLAKE3 of the blob's hash
 * and the chunk hashes, which binds them to the blob and shows any damage.
 */
export class ChunkHashes {
  readonly #hashes: readonly string[]

  constructor(hashes: readonly string[]) {
    this.#hashes = hashes
  }

  at(chunk: number): string | undefined {
    return this.#hashes[chunk]
  }

  encode(blobHash: string): Buffer {
    if (this.#hashes.length <= 1) return Buffer.alloc(0)
    const hashes = Buffer.from(this.#hashes.join(''), 'hex')
    return Buffer.concat([hashes, Buffer.from(seal(blobHash, hashes), 'hex')])
  }

  /** Undefined when the bytes are damaged or those of another blob. */
  static decode(blobHash: string, sizeBytes: number, bytes: Buffer): ChunkHashes | undefined {
    if (bytes.byteLength !== chunkHashesBytes(sizeBytes)) return undefined
    if (bytes.byteLength === 0) return new ChunkHashes([blobHash])
    const hashes = bytes.subarray(0, -HASH_BYTES)
    if (bytes.toString('hex', hashes.byteLength) !== seal(blobHash, hashes)) return undefined
    const list: string[] = []
    for (let at = 0; at < hashes.byteLength; at += HASH_BYTES) {
      list.push(hashes.toString('hex', at, at + HASH_BYTES))
    }
    return new ChunkHashes(list)
  }
}

/** Hashes a blob and its chunks side by side. */
export class ChunkHasher {
  readonly #hashes: string[] = []
  #first: Uint8Array | undefined
  #whole: BlobHasher | undefined

  /** Every chunk but the last has CHUNK_BYTES. It must stay as it is until the next is added. */
  add(chunk: Uint8Array): void {
    if (this.#first === undefined) {
      // The hash of an only chunk is that of the blob: nothing is hashed twice before the second.
      this.#first = chunk
    } else {
      if (this.#whole === undefined) {
        this.#whole = createHasher()
        this.#whole.update(this.#first)
      }
      this.#whole.update(chunk)
    }
    this.#hashes.push(hashBytes(chunk))
  }

  finish(): { hash: string; chunkHashes: ChunkHashes } {
    const hash = this.#whole?.digestHex() ?? this.#hashes[0] ?? hashBytes(new Uint8Array(0))
    return { hash, chunkHashes: new ChunkHashes(this.#hashes) }
  }
}

function seal(blobHash: string, hashes: Buffer): string {
  return hashBytes(Buffer.concat([Buffer.from(blobHash, 'hex'), hashes]))
}
