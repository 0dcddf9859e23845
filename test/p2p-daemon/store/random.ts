/** A small seeded generator (mulberry32): a failing seed is all that is needed to see it again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Bytes that depend on the id alone, so that a model keeps ids instead of blobs. */
export function blobOf(id: number, sizeBytes: number): Buffer {
  const random = seeded(id * 7919 + sizeBytes)
  const bytes = Buffer.alloc(sizeBytes)
  for (let at = 0; at + 4 <= sizeBytes; at += 4) bytes.writeUInt32LE(random() * 2 ** 32, at)
  return bytes
}
