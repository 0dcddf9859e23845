import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'

import { FsBlockstore } from 'blockstore-fs'
import cacache from 'cacache'
import { open as openLmdb } from 'lmdb'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'

import { DiskStore } from '../../p2p-daemon/store/disk-store.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import type { Contender } from './contender.ts'

const BLAKE3_CODE = 0x1e
const RAW_CODE = 0x55

export async function openOurs(
  dir: string,
  init: { name?: string; packBlobBytesMax?: number } = {},
): Promise<Contender> {
  const { name = 'bzzz', ...rest } = init
  const store = new DiskStore({}, { dataDir: join(dir, name), ...rest })
  await store.start()
  return {
    name,
    put: async (bytes) => (await store.put(bytes)).hash,
    get: async (hash) => {
      let sizeBytes = 0
      const { body, release } = await store.get(hash)
      for await (const chunk of body) {
        sizeBytes += chunk.byteLength
        // As the HTTP API does when the chunk is on its way.
        release?.(chunk)
      }
      return sizeBytes
    },
    close: () => store.stop(),
  }
}

/** A put is acknowledged when it is on the disk; the hash is checked on the way out, as ours is. */
export async function openLmdbFlushed(dir: string): Promise<Contender> {
  const options = { encoding: 'binary', keyEncoding: 'binary', compression: false } as const
  const db = openLmdb<Buffer, Buffer>({ path: join(dir, 'lmdb'), ...options })
  return {
    name: 'lmdb, flushed',
    put: async (bytes) => {
      const hash = hashBytes(bytes)
      await db.put(Buffer.from(hash, 'hex'), bytes as Buffer)
      await db.flushed
      return hash
    },
    get: async (hash) => {
      const bytes = db.get(Buffer.from(hash, 'hex'))
      if (bytes === undefined || hashBytes(bytes) !== hash) throw new Error('wrong bytes')
      return bytes.byteLength
    },
    close: () => db.close(),
  }
}

/** Not durable: blockstore-fs syncs nothing. */
export async function openBlockstoreFs(dir: string): Promise<Contender> {
  const store = new FsBlockstore(join(dir, 'blockstore'))
  await store.open()
  return {
    name: 'blockstore-fs, not durable',
    put: async (bytes) => {
      const digest = Digest.create(BLAKE3_CODE, Buffer.from(hashBytes(bytes), 'hex'))
      return (await store.put(CID.createV1(RAW_CODE, digest), bytes)).toString()
    },
    get: async (key) => {
      let sizeBytes = 0
      for await (const chunk of store.get(CID.parse(key))) sizeBytes += chunk.byteLength
      return sizeBytes
    },
    close: () => store.close(),
  }
}

/** Not durable: cacache syncs nothing. Its own hash, SHA-512, instead of ours. */
export async function openCacache(dir: string): Promise<Contender> {
  const cache = join(dir, 'cacache')
  return {
    name: 'cacache, not durable',
    put: async (bytes) => (await cacache.put(cache, randomUUID(), bytes)).toString(),
    get: async (integrity) => (await cacache.get.byDigest(cache, integrity)).byteLength,
    close: () => Promise.resolve(),
  }
}

/** What any program does that wants the bytes on the disk; no hash, no directory sync. */
export async function openPlainFiles(dir: string): Promise<Contender> {
  const folder = join(dir, 'plain')
  await mkdir(folder)
  return {
    name: 'write + fsync + rename',
    put: async (bytes) => {
      const path = join(folder, randomUUID())
      const file = await open(`${path}.part`, 'wx')
      await file.writeFile(bytes)
      await file.sync()
      await file.close()
      await rename(`${path}.part`, path)
      return path
    },
    get: async (path) => (await readFile(path)).byteLength,
    close: () => Promise.resolve(),
  }
}
