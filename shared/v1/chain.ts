import { hashOfEntry, signatureOfEntry, type LogEntry, type Unreadable } from './log-entry.ts'

export type BadReason =
  | Unreadable
  | 'prev_hash_mismatch'
  | 'hash_mismatch'
  | 'index_not_position'
  | 'author_changed'
  | 'signature_mismatch'

/** What one rule says of a chain. What stands before the first bad position is good. */
export interface RuleResult {
  ok: boolean
  firstBadPosition: number | null
  reason: BadReason | null
  goodEntries: number
  goodHeadHash: string
}

/** What was found out about one record. */
export interface Verdict {
  position: number
  /** Null while the rule holds for this record and all before it. */
  v1: BadReason | null
  strict: BadReason | null
}

/**
 * One chain, checked entry by entry under two rules: that of v1's VerifyIntegrity (each entry
 * links to the one before and has the hash it says), and a strict one that also wants index equal
 * to position, one author, and v1's signature. Neither can see a chain that was made anew, nor
 * one that ends too soon: only a head or a length that is known from elsewhere does.
 */
export class Chain {
  /** Of the first entry; null for records that nobody can read. */
  readonly author: string | null
  #genesisHash = ''
  #length = 0
  #headHash = ''
  readonly #v1 = newRule()
  readonly #strict = newRule()

  /** A part of a chain begins at a later position, behind the entry of that hash. */
  constructor(author: string | null, init: { start?: number; headHash?: string } = {}) {
    this.author = author
    this.#length = init.start ?? 0
    this.#headHash = init.headHash ?? ''
  }

  get length(): number {
    return this.#length
  }

  /** As the first entry says; with the author it names the chain. */
  get genesisHash(): string {
    return this.#genesisHash
  }

  /** As the last record says, good or bad; empty when it cannot be read. */
  get headHash(): string {
    return this.#headHash
  }

  get v1(): Readonly<RuleResult> {
    return this.#v1
  }

  get strict(): Readonly<RuleResult> {
    return this.#strict
  }

  add(entry: LogEntry): Verdict {
    const position = this.#length
    const v1 = this.#v1.reason ?? this.#check(entry)
    const strict = this.#strict.reason ?? v1 ?? this.#checkStrictly(entry, position)
    note(this.#v1, v1, position, entry.hash)
    note(this.#strict, strict, position, entry.hash)
    if (position === 0) this.#genesisHash = entry.hash
    this.#headHash = entry.hash
    this.#length++
    return { position, v1, strict }
  }

  addUnreadable(reason: Unreadable): Verdict {
    const position = this.#length
    note(this.#v1, reason, position, '')
    note(this.#strict, reason, position, '')
    this.#headHash = ''
    this.#length++
    return { position, v1: reason, strict: reason }
  }

  #check(entry: LogEntry): BadReason | null {
    if (entry.prevHash !== this.#headHash) return 'prev_hash_mismatch'
    if (entry.hash !== hashOfEntry(entry)) return 'hash_mismatch'
    return null
  }

  #checkStrictly(entry: LogEntry, position: number): BadReason | null {
    if (entry.index !== String(position)) return 'index_not_position'
    if (entry.author !== this.author) return 'author_changed'
    if (entry.signature !== signatureOfEntry(entry)) return 'signature_mismatch'
    return null
  }
}

function newRule(): RuleResult {
  return { ok: true, firstBadPosition: null, reason: null, goodEntries: 0, goodHeadHash: '' }
}

function note(rule: RuleResult, reason: BadReason | null, position: number, head: string): void {
  if (!rule.ok) return
  if (reason === null) {
    rule.goodEntries = position + 1
    rule.goodHeadHash = head
    return
  }
  rule.ok = false
  rule.firstBadPosition = position
  rule.reason = reason
}
