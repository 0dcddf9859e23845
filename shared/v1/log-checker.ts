import { LogTooManyChainsError } from '../errors.ts'
import { Chain, type Verdict } from './chain.ts'
import { CHAINS_MAX } from './constants.ts'
import { readEntry, type LogEntry } from './log-entry.ts'
import type { RawRecord } from './record-splitter.ts'

/** A record of a log with what is known of it. */
export interface CheckedRecord {
  raw: RawRecord
  /** Null when it cannot be read. */
  entry: LogEntry | null
  chain: Chain
  verdict: Verdict
}

/**
 * Gives every record of a log to its chain. A file may hold several: each author has its own, and
 * an entry belongs to the chain it links to, whoever wrote it, before it belongs to its author's.
 * A record that nobody can read belongs to the only chain there is so far, or to none.
 */
export class LogChecker {
  readonly #chains: Chain[] = []
  readonly #byAuthor = new Map<string, Chain>()
  #unreadable: Chain | null = null

  /** In the order in which they begin. */
  get chains(): readonly Chain[] {
    return this.#chains
  }

  /** @throws LogTooManyChainsError */
  check(raw: RawRecord): CheckedRecord {
    const entry = readEntry(raw)
    if (typeof entry === 'string') {
      const chain = this.#chainOfUnreadable()
      return { raw, entry: null, chain, verdict: chain.addUnreadable(entry) }
    }
    const chain = this.#chainOf(entry)
    return { raw, entry, chain, verdict: chain.add(entry) }
  }

  #chainOf({ author, prevHash }: LogEntry): Chain {
    const own = this.#byAuthor.get(author)
    if (own && own.headHash === prevHash) return own
    const linked =
      prevHash === '' ? undefined : this.#chains.find(({ headHash }) => headHash === prevHash)
    return linked ?? own ?? this.#begin(author)
  }

  #chainOfUnreadable(): Chain {
    const [only] = this.#chains
    if (only && this.#chains.length === 1) return only
    return (this.#unreadable ??= this.#begin(null))
  }

  #begin(author: string | null): Chain {
    if (this.#chains.length >= CHAINS_MAX) {
      throw new LogTooManyChainsError(`The log has more than ${CHAINS_MAX} chains: split it.`)
    }
    const chain = new Chain(author)
    this.#chains.push(chain)
    if (author !== null) this.#byAuthor.set(author, chain)
    return chain
  }
}

/** Records of a log, checked in its order, batch by batch. */
export async function* checkRecords(
  batches: AsyncIterable<readonly RawRecord[]>,
  checker: LogChecker,
): AsyncIterable<CheckedRecord[]> {
  for await (const batch of batches) yield batch.map((record) => checker.check(record))
}
