import { createRequire } from 'node:module'

import { InvalidHashError } from '../errors.ts'

/** Streaming BLAKE3 over any number of chunks. One hasher serves one digest. */
export interface BlobHasher {
  update(chunk: Uint8Array): void
  /** Lower-case hex, 64 characters. */
  digestHex(): string
}

interface Implementation {
  hashHex(bytes: Uint8Array): string
  createHasher(): BlobHasher
}

const HASH_PATTERN = /^[0-9a-f]{64}$/

const require = createRequire(import.meta.url)

/** About 3 GB/s on one thread; prebuilt for the usual platforms. */
function loadNative(): Implementation {
  const native = require('@napi-rs/blake-hash') as typeof import('@napi-rs/blake-hash')
  return {
    hashHex: (bytes) => native.blake3(bytes).toString('hex'),
    createHasher: () => {
      const hasher = new native.Blake3Hasher()
      return {
        update: (chunk) => void hasher.update(chunk),
        digestHex: () => hasher.digestBuffer().toString('hex'),
      }
    },
  }
}

/** About 0.5 GB/s by WebAssembly; used where no native build exists. */
function loadWebAssembly(): Implementation {
  const wasm = require('blake3') as typeof import('blake3')
  return {
    hashHex: (bytes) => wasm.hash(bytes).toString('hex'),
    createHasher: () => {
      const hasher = wasm.createHash()
      return {
        update: (chunk) => void hasher.update(chunk),
        digestHex: () => hasher.digest().toString('hex'),
      }
    },
  }
}

function load(): Implementation {
  try {
    return loadNative()
  } catch {
    return loadWebAssembly()
  }
}

const implementation = load()

/** BLAKE3-256 of `bytes` as 64 lower-case hex characters. */
export function hashBytes(bytes: Uint8Array): string {
  return implementation.hashHex(bytes)
}

export function createHasher(): BlobHasher {
  return implementation.createHasher()
}

export function isHash(text: string): boolean {
  return HASH_PATTERN.test(text)
}

/** @throws InvalidHashError when `text` is not 64 hex characters. Upper case is folded. */
export function parseHash(text: string): string {
  const folded = text.toLowerCase()
  if (!isHash(folded)) {
    throw new InvalidHashError('A hash is 64 hexadecimal characters (BLAKE3-256).')
  }
  return folded
}
