import { Derivation } from './derivation.ts'
import type { BadReason, Chain } from './chain.ts'
import { ChunkWriter, PEER_ID, type WrittenChunk } from './chunk.ts'
import { CHUNK_BYTES_MAX, CHUNK_ENTRIES_MAX } from './constants.ts'
import { conversationOf } from './conversation.ts'
import { LogChecker, type CheckedRecord } from './log-checker.ts'
import type { LogSource } from './log-source.ts'
import { ImportSummary } from './import-summary.ts'

export type QuarantineReason = BadReason | 'author_not_a_peer_id' | 'behind_a_bad_entry'

/** Records of one chain that follow each other and are not imported. */
export interface Quarantined {
  author: string | null
  /** In the chain, of the first. */
  position: number
  records: number
  reason: QuarantineReason
  /** In the file, of the first. */
  offset: number
  /** Their raw bytes, each as a line; null for a record that is too long, whose place is told. */
  body: Buffer | null
  sizeBytes: number
}

/** What an import is made of, in the order of the log. */
export type ImportItem =
  | ({ kind: 'chunk' } & WrittenChunk)
  | { kind: 'quarantine'; quarantined: Quarantined }

interface ChainState {
  derivation: Derivation
  writer: ChunkWriter | null
  bad: { first: CheckedRecord; records: Buffer[]; bytes: number; reason: QuarantineReason } | null
}

/**
 * Reads a log for an import: entries that the strict rule accepts become chunks, everything from
 * the first bad position of a chain on is set aside with its bytes and the reason.
 */
export class ImportReader {
  readonly summary = new ImportSummary()
  readonly #states = new Map<Chain, ChainState>()

  /** Items come as soon as they are full; what is left of each chain comes at the end. */
  async *read(source: LogSource, signal: AbortSignal): AsyncIterable<ImportItem> {
    const checker = new LogChecker()
    this.#states.clear()
    for await (const batch of source.read(signal)) {
      for (const record of batch) yield* this.#take(checker.check(record))
      this.summary.offset = batch.at(-1)?.offset ?? 0
    }
    for (const state of this.#states.values()) yield* this.#finish(state)
    this.summary.addChains(source.path, checker.chains)
  }

  *#take(record: CheckedRecord): Iterable<ImportItem> {
    const { chain, entry, verdict } = record
    const state = this.#stateOf(chain, record)
    this.summary.records++
    if (entry === null || verdict.strict !== null || state.writer === null) {
      yield* this.#setAside(record, state)
      return
    }
    const derived = state.derivation.derive(entry)
    const { author, genesisHash } = chain
    const conversation = conversationOf(derived, { author: author!, genesisHash })
    this.summary.count(entry, derived, conversation)
    const full = state.writer.add(entry, derived)
    if (full) yield { kind: 'chunk', ...full }
  }

  #stateOf(chain: Chain, { entry }: CheckedRecord): ChainState {
    const known = this.#states.get(chain)
    if (known) return known
    const { author } = chain
    const usable = author !== null && PEER_ID.test(author) && entry !== null
    const writer = usable ? new ChunkWriter({ author, genesis: entry.hash }) : null
    const state = { derivation: new Derivation(), writer, bad: null }
    this.#states.set(chain, state)
    return state
  }

  *#setAside(record: CheckedRecord, state: ChainState): Iterable<ImportItem> {
    const { raw, chain, verdict } = record
    const first = chain.strict.firstBadPosition === verdict.position
    const own = verdict.strict ?? 'author_not_a_peer_id'
    const reason: QuarantineReason = first || verdict.strict === null ? own : 'behind_a_bad_entry'
    this.summary.setAside(reason)
    if (!raw.whole) {
      yield* flush(state)
      const { offset, sizeBytes } = raw
      const { position } = verdict
      const quarantined = {
        author: chain.author,
        position,
        records: 1,
        reason,
        offset,
        body: null,
        sizeBytes,
      }
      yield { kind: 'quarantine', quarantined }
      return
    }
    const isFull =
      state.bad !== null &&
      (state.bad.reason !== reason ||
        state.bad.records.length === CHUNK_ENTRIES_MAX ||
        state.bad.bytes + raw.bytes.length > CHUNK_BYTES_MAX)
    if (isFull) yield* flush(state)
    state.bad ??= { first: record, records: [], bytes: 0, reason }
    state.bad.records.push(Buffer.from(raw.bytes))
    state.bad.bytes += raw.bytes.length
  }

  *#finish(state: ChainState): Iterable<ImportItem> {
    const rest = state.writer?.end()
    if (rest) yield { kind: 'chunk', ...rest }
    yield* flush(state)
  }
}

function* flush(state: ChainState): Iterable<ImportItem> {
  const { bad } = state
  if (bad === null) return
  state.bad = null
  const { first, records, reason } = bad
  const newline = Buffer.from('\n')
  const body = Buffer.concat(records.flatMap((record) => [record, newline]))
  yield {
    kind: 'quarantine',
    quarantined: {
      author: first.chain.author,
      position: first.verdict.position,
      records: records.length,
      reason,
      offset: first.raw.offset,
      body,
      sizeBytes: body.length,
    },
  }
}
