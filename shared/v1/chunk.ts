import { z } from 'zod'

import { InvalidChunkError } from '../errors.ts'
import { Chain } from './chain.ts'
import { CHUNK_BYTES_MAX, CHUNK_ENTRIES_MAX, RECORD_BYTES_MAX } from './constants.ts'
import { Derivation, type Claims, type Derived } from './derivation.ts'
import { readEntry, type LogEntry } from './log-entry.ts'

/** A chunk is a line of JSON, then the exact bytes of each entry as a line. */
export const CHUNK_MEDIA_TYPE = 'application/vnd.bzzz.v1-chunk+ndjson'

/** As libp2p writes peer ids. Nothing else was ever an author. */
export const PEER_ID = /^[1-9A-HJ-NP-Za-km-z]{1,128}$/

const HASH = /^[0-9a-f]{64}$/

/** Entries of a chain that follow each other. Every log cuts a chain at the same places. */
export const chunkHeaderSchema = z.strictObject({
  author: z.string().regex(PEER_ID),
  /** Hash of the chain's first entry. */
  genesis: z.string().regex(HASH),
  chunk: z.int().min(0),
  /** Position of the first entry. */
  start: z.int().min(0),
  /** What the first entry links to. */
  previous: z.union([z.literal(''), z.string().regex(HASH)]),
  entries: z.int().min(1).max(CHUNK_ENTRIES_MAX),
  /** Latest time of the chain before the chunk, in milliseconds: v1's clocks step back. */
  clock: z.int(),
  /** Claims before the chunk of issues that it speaks of. */
  claims: z.record(z.string().regex(/^\d{1,16}$/), z.string()),
})

export type ChunkHeader = z.output<typeof chunkHeaderSchema>

export interface ChunkEntry {
  position: number
  entry: LogEntry
  derived: Derived
  /** Milliseconds; never less than for the entry before it. */
  orderedAt: number
}

export interface WrittenChunk {
  header: ChunkHeader
  /** Hash of the last entry. */
  head: string
  body: Buffer
}

/** Gathers good entries of one chain into chunks. */
export class ChunkWriter {
  readonly #author: string
  readonly #genesis: string
  #chunk = 0
  #start = 0
  #previous = ''
  #head = ''
  #clockBefore = 0
  #clock = 0
  #lines: Buffer[] = []
  #bytes = 0
  #seen = new Set<string>()
  #claims: Record<string, string> = {}

  constructor(chain: { author: string; genesis: string }) {
    this.#author = chain.author
    this.#genesis = chain.genesis
  }

  /** The chunk before this entry, when it is full. */
  add(entry: LogEntry, { topic, claimedBefore }: Derived): WrittenChunk | null {
    const isFull =
      this.#lines.length === CHUNK_ENTRIES_MAX || this.#bytes + entry.bytes.length > CHUNK_BYTES_MAX
    const full = isFull ? this.end() : null
    if (topic?.kind === 'issue' && !this.#seen.has(topic.issue)) {
      this.#seen.add(topic.issue)
      if (claimedBefore !== null) this.#claims[topic.issue] = claimedBefore
    }
    // A copy: the chunk of the file it lies in would stay in memory with it.
    this.#lines.push(Buffer.from(entry.bytes))
    this.#bytes += entry.bytes.length + 1
    this.#head = entry.hash
    this.#clock = Math.max(this.#clock, timeOf(entry))
    return full
  }

  /** What is left. */
  end(): WrittenChunk | null {
    if (this.#lines.length === 0) return null
    const entries = this.#lines.length
    const header = {
      author: this.#author,
      genesis: this.#genesis,
      chunk: this.#chunk,
      start: this.#start,
      previous: this.#previous,
      entries,
      clock: this.#clockBefore,
      claims: this.#claims,
    }
    const newline = Buffer.from('\n')
    const lines = [Buffer.from(JSON.stringify(header)), ...this.#lines]
    const body = Buffer.concat(lines.flatMap((line) => [line, newline]))
    this.#chunk++
    this.#start += entries
    this.#previous = this.#head
    this.#clockBefore = this.#clock
    this.#lines = []
    this.#bytes = 0
    this.#seen = new Set()
    this.#claims = {}
    return { header, head: this.#head, body }
  }
}

/**
 * Reads a chunk and verifies it under the strict rule: every entry follows the one before, and the
 * first one what the header says.
 * @throws InvalidChunkError
 */
export function readChunk(body: Buffer): {
  header: ChunkHeader
  entries: ChunkEntry[]
  head: string
} {
  const lines = splitLines(body)
  const header = parseHeader(lines.shift())
  if (lines.length !== header.entries) {
    throw new InvalidChunkError('The chunk has not as many entries as it says.')
  }
  const { author, start, previous, genesis } = header
  if (start === 0 && previous !== '') throw new InvalidChunkError('The chunk follows nothing.')
  const chain = new Chain(author, { start, headHash: previous })
  const derivation = new Derivation(header.claims as Claims)
  let { clock } = header
  const entries = lines.map((bytes): ChunkEntry => {
    const entry = readEntry({
      bytes,
      offset: 0,
      sizeBytes: bytes.length,
      whole: bytes.length <= RECORD_BYTES_MAX,
    })
    if (typeof entry === 'string') throw new InvalidChunkError(`The chunk has no entry: ${entry}.`)
    const { position, strict } = chain.add(entry)
    if (strict !== null) {
      throw new InvalidChunkError(`Entry ${position} of the chunk does not hold: ${strict}.`)
    }
    clock = Math.max(clock, timeOf(entry))
    return { position, entry, derived: derivation.derive(entry), orderedAt: clock }
  })
  if (start === 0 && entries[0]?.entry.hash !== genesis) {
    throw new InvalidChunkError('The chunk begins another chain than it says.')
  }
  return { header, entries, head: chain.headHash }
}

/** Milliseconds; 0 for a time that no calendar has, which a forger may have sealed. */
export function timeOf({ timestamp }: Pick<LogEntry, 'timestamp'>): number {
  // Digits beyond milliseconds are not for Date.
  const time = Date.parse(timestamp.replace(/(\.\d{3})\d+/, '$1'))
  return Number.isNaN(time) ? 0 : time
}

function parseHeader(line: Buffer | undefined): ChunkHeader {
  try {
    return chunkHeaderSchema.parse(JSON.parse(String(line)))
  } catch (cause) {
    throw new InvalidChunkError('The chunk has no header that can be read.', { cause })
  }
}

function splitLines(body: Buffer): Buffer[] {
  const lines: Buffer[] = []
  let start = 0
  for (let end = body.indexOf(10); end !== -1; end = body.indexOf(10, start)) {
    lines.push(body.subarray(start, end))
    start = end + 1
    if (lines.length > CHUNK_ENTRIES_MAX + 1) throw new InvalidChunkError('The chunk is too long.')
  }
  if (start !== body.length) throw new InvalidChunkError('The chunk is cut.')
  return lines
}
