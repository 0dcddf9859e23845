import { existsSync } from 'node:fs'
import { open, readdir, readFile, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'

import {
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  SEGMENT_HEADER_BYTES,
} from '../../p2p-daemon/store/pack-record.ts'
import { hashBytes } from '../../shared/blob/hash.ts'

/** Where the bytes of one blob lie on the disk of a node. */
export interface Place {
  hash: string
  path: string
  position: number
  sizeBytes: number
  packed: boolean
}

/** Byte 5 of a record header: the payload is the blob itself. */
const KIND_BLOB = 1

/** The files of a node's blobs, looked at and spoilt from outside, as a failing disk does. */
export class DiskOfNode {
  readonly #blobs: string

  constructor(dataDir: string) {
    this.#blobs = join(dataDir, 'blobs')
  }

  async segments(): Promise<string[]> {
    const folder = join(this.#blobs, 'data', 'packs')
    return (await readdir(folder)).toSorted().map((name) => join(folder, name))
  }

  /** Of those asked for, the newest copy of each that is there, whatever its bytes are. */
  async find(hashes: readonly string[]): Promise<Map<string, Place>> {
    const wanted = new Set(hashes)
    const places = new Map<string, Place>()
    for (const path of await this.segments()) {
      for (const place of recordsOf(path, await readFile(path))) {
        if (wanted.has(place.hash)) places.set(place.hash, place)
      }
    }
    for (const hash of hashes) {
      const path = join(this.#blobs, 'data', hash.slice(0, 2), hash.slice(2, 4), hash)
      if (!existsSync(path)) continue
      const { size } = await stat(path)
      places.set(hash, { hash, path, position: 0, sizeBytes: size, packed: false })
    }
    return places
  }

  /** Hashes of the copies that the node has set aside so far. */
  async quarantined(): Promise<Set<string>> {
    const names = await readdir(join(this.#blobs, 'quarantine'))
    return new Set(names.map((name) => name.slice(0, 64)))
  }

  /** Whether the bytes on the disk are those of the hash. */
  async isGood({ hash, path, position, sizeBytes }: Place): Promise<boolean> {
    const file = await open(path, 'r')
    try {
      const bytes = Buffer.alloc(sizeBytes)
      const { bytesRead } = await file.read(bytes, 0, sizeBytes, position)
      return bytesRead === sizeBytes && hashBytes(bytes) === hash
    } finally {
      await file.close()
    }
  }

  /** One bit becomes the other. */
  async flipBit({ path, position, sizeBytes }: Place, random: () => number): Promise<void> {
    const file = await open(path, 'r+')
    try {
      const at = position + Math.floor(random() * sizeBytes)
      const byte = Buffer.alloc(1)
      await file.read(byte, 0, 1, at)
      byte[0] = byte[0]! ^ (1 << Math.floor(random() * 8))
      await file.write(byte, 0, 1, at)
    } finally {
      await file.close()
    }
  }

  /** The file ends within its blob. */
  async cutFile({ path, sizeBytes }: Place, random: () => number): Promise<void> {
    await truncate(path, Math.floor(random() * sizeBytes))
  }

  /** The segment ends early; resolves to the blobs of `places` that lie behind its new end. */
  async cutSegment(path: string, places: Iterable<Place>, sizeBytes: number): Promise<string[]> {
    await truncate(path, sizeBytes)
    return [...places]
      .filter((place) => place.path === path && place.position + place.sizeBytes > sizeBytes)
      .map(({ hash }) => hash)
  }
}

/** Walks over the records; behind bytes that are none it looks for the next one. */
function* recordsOf(path: string, bytes: Buffer): Generator<Place> {
  let at = SEGMENT_HEADER_BYTES
  for (;;) {
    at = bytes.indexOf(RECORD_MAGIC, at)
    if (at < 0 || at + RECORD_HEADER_BYTES > bytes.byteLength) return
    const sizeBytes = bytes.readUInt32LE(at + 24)
    const hash = bytes.toString('hex', at + 32, at + RECORD_HEADER_BYTES)
    const position = at + RECORD_HEADER_BYTES
    if (bytes[at + 5] === KIND_BLOB) yield { hash, path, position, sizeBytes, packed: true }
    at = position + sizeBytes
  }
}
