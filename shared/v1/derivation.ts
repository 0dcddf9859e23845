import { CLAIMS_MAX } from './constants.ts'
import { dataOfEntry, type LogEntry } from './log-entry.ts'

/** What v1 itself calls the conversation: its topic, or the id of a session. */
export type Topic = { kind: 'issue'; issue: string } | { kind: 'session'; session: string }

/** What is known of the conversation an entry belongs to. */
export interface Derived {
  /** Null where the entry speaks of none. */
  topic: Topic | null
  /** Of an issue; null when no claim of the same chain says which. */
  repository: string | null
  /** Of messages of the discussion: their own id and that of what they answer. */
  messageId: string | null
  parentId: string | null
  /** The repository that a claim before this entry gave the issue. */
  claimedBefore: string | null
  /** Why something of this was left out. */
  problem: 'issue_out_of_range' | null
}

const NONE: Derived = {
  topic: null,
  repository: null,
  messageId: null,
  parentId: null,
  claimedBefore: null,
  problem: null,
}

/** Claims of issues by their number, as far as a part of a chain needs them. */
export type Claims = Readonly<Record<string, string>>

/**
 * Finds the conversations in one chain, entry by entry in its order. v1 numbers issues per
 * repository and names topics by the number alone, so the repository comes from the entry or from
 * the latest claim of that number before it in the same chain.
 */
export class Derivation {
  readonly #claims = new Map<string, string>()

  constructor(claims: Claims = {}) {
    for (const [issue, repository] of Object.entries(claims)) this.#claims.set(issue, repository)
  }

  derive(entry: LogEntry): Derived {
    const data = dataOfEntry(entry)
    const ids = { messageId: text(data['msg_id']), parentId: text(data['parent_id']) }
    const issue = typeof data['task_id'] === 'number' ? data['task_id'] : data['issue_id']
    const named = text(data['repository'])
    if (typeof issue === 'number' && !isIssue(issue)) {
      return { ...NONE, ...ids, problem: 'issue_out_of_range' }
    }
    const number = typeof issue === 'number' ? String(issue) : null
    const claimedBefore = (number !== null && this.#claims.get(number)) || null
    const known = { ...NONE, ...ids, claimedBefore }
    if (entry.type === 'task_claimed' && number !== null && named !== null) {
      this.#claim(number, named)
    }
    const session = text(data['session_id'])
    if (session !== null) return { ...known, topic: { kind: 'session', session } }
    if (number === null) return known
    return { ...known, repository: named ?? claimedBefore, topic: { kind: 'issue', issue: number } }
  }

  /** The oldest claim goes when there are too many: such a number is long done with. */
  #claim(issue: string, repository: string): void {
    this.#claims.delete(issue)
    const [oldest] = this.#claims.size >= CLAIMS_MAX ? this.#claims.keys() : []
    if (oldest !== undefined) this.#claims.delete(oldest)
    this.#claims.set(issue, repository)
  }
}

/** A number that JSON.parse gives exactly, as GitHub gives them out. */
function isIssue(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
