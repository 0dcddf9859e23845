import type { Chain, RuleResult } from './chain.ts'
import { THREADS_COUNTED_MAX, TYPES_COUNTED_MAX } from './constants.ts'
import type { Conversation } from './conversation.ts'
import type { Derived } from './derivation.ts'
import type { LogEntry } from './log-entry.ts'

export interface ChainSummary {
  file: string
  author: string | null
  genesisHash: string
  headHash: string
  records: number
  /** Entries that are imported. */
  entries: number
  v1: RuleResult
  strict: RuleResult
}

/** What an import will bring, counted as it is read. */
export interface ImportCounts {
  records: number
  entries: number
  byType: Record<string, number>
  byAuthor: Record<string, number>
  threads: Record<string, number>
  /** More kinds or conversations than are counted by name. */
  uncounted: number
  quarantined: Record<string, number>
  problems: Record<string, number>
  chains: ChainSummary[]
}

/** Counts by name, as many names as the bounds allow. */
export class ImportSummary {
  records = 0
  /** Where in the file the reading is. */
  offset = 0
  #entries = 0
  #uncounted = 0
  readonly #byType = new Map<string, number>()
  readonly #byAuthor = new Map<string, number>()
  readonly #threads = new Map<string, number>()
  readonly #quarantined = new Map<string, number>()
  readonly #problems = new Map<string, number>()
  readonly #chains: ChainSummary[] = []

  count(entry: LogEntry, derived: Derived, conversation: Conversation): void {
    this.#entries++
    this.#add(this.#byType, entry.type, TYPES_COUNTED_MAX)
    this.#add(this.#byAuthor, entry.author, THREADS_COUNTED_MAX)
    this.#add(this.#threads, conversation.key, THREADS_COUNTED_MAX)
    if (derived.problem !== null) this.#add(this.#problems, derived.problem, TYPES_COUNTED_MAX)
  }

  setAside(reason: string): void {
    this.#add(this.#quarantined, reason, TYPES_COUNTED_MAX)
  }

  addChains(file: string, chains: readonly Chain[]): void {
    for (const { author, genesisHash, headHash, length, v1, strict } of chains) {
      const entries = this.#byAuthor.has(author ?? '') ? strict.goodEntries : 0
      const rules = { v1: { ...v1 }, strict: { ...strict } }
      this.#chains.push({ file, author, genesisHash, headHash, records: length, entries, ...rules })
    }
  }

  get counts(): ImportCounts {
    return {
      records: this.records,
      entries: this.#entries,
      byType: Object.fromEntries(this.#byType),
      byAuthor: Object.fromEntries(this.#byAuthor),
      threads: Object.fromEntries(this.#threads),
      uncounted: this.#uncounted,
      quarantined: Object.fromEntries(this.#quarantined),
      problems: Object.fromEntries(this.#problems),
      chains: this.#chains,
    }
  }

  get entries(): number {
    return this.#entries
  }

  #add(counts: Map<string, number>, name: string, max: number): void {
    const count = counts.get(name)
    if (count === undefined && counts.size >= max) this.#uncounted++
    else counts.set(name, (count ?? 0) + 1)
  }
}
