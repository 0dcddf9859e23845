import { LogBrokenError } from '../errors.ts'
import { Chain } from './chain.ts'
import { readEntry, type LogEntry } from './log-entry.ts'

/** Where a part of a chain begins and ends. */
export interface ChunkPlace {
  author: string
  start: number
  entries: number
  /** What the first entry links to, and the hash of the last. */
  previous: string
  head: string
}

/** Bytes that were stored for a position, and the hash that v1 gave them. */
export interface StoredEntry {
  position: number
  hash: string
  bytes: Buffer
}

/**
 * Verifies a chunk from stored bytes, gives its entries in order. Where a chain was forked there
 * are several entries of a position; those of this chunk are the ones that link to each other.
 * @throws LogBrokenError
 */
export function followChunk(place: ChunkPlace, stored: readonly StoredEntry[]): LogEntry[] {
  const { author, start, entries, previous, head } = place
  const byPosition = Map.groupBy(stored, ({ position }) => position)
  const last = start + entries - 1
  // Backwards, because only the end of a chunk is known to be of this fork and no other.
  const path: LogEntry[] = []
  let wanted = head
  for (let position = last; position >= start; position--) {
    const found = byPosition.get(position)?.find(({ hash }) => hash === wanted)
    const entry = found && entryOf(found.bytes)
    if (!entry || entry.hash !== wanted) {
      throw new LogBrokenError(`Entry ${position} of ${author} is not what was imported.`)
    }
    path.push(entry)
    wanted = entry.prevHash
  }
  const chain = new Chain(author, { start, headHash: previous })
  path.reverse()
  for (const entry of path) {
    const { position, strict } = chain.add(entry)
    if (strict !== null) {
      throw new LogBrokenError(`Entry ${position} of ${author} does not hold: ${strict}.`)
    }
  }
  return path
}

function entryOf(bytes: Buffer): LogEntry | null {
  const entry = readEntry({ bytes, offset: 0, sizeBytes: bytes.length, whole: true })
  return typeof entry === 'string' ? null : entry
}
