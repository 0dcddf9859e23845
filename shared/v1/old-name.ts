/** What v1 called things by. */
export type OldName =
  | { kind: 'entry'; author: string; position: number }
  /** v1 shows the last six characters of an author only. */
  | { kind: 'short-entry'; suffix: string; position: number }
  | { kind: 'hash'; hash: string }
  | { kind: 'topic'; topic: string }

const ENTRY = /^([1-9A-HJ-NP-Za-km-z]{20,128})\/(0|[1-9]\d{0,15})$/
const SHORT_ENTRY = /^<peer\.ID 12\*([1-9A-HJ-NP-Za-km-z]{6})>\/(0|[1-9]\d{0,15})$/
const HASH = /^[0-9a-f]{64}$/
const TOPIC = /^bzzz\/meta\/issue\/(?:0|[1-9]\d{0,15})$/

/** Longer than any of them; the longest is an author and a position. */
const CHARS_MAX = 256

/**
 * Reads a name of v1: `author/index`, the hash of an entry, or a topic. None of them is an address:
 * those have an `@`, or begin with `b3/`.
 */
export function parseOldName(text: string): OldName | null {
  if (text.length > CHARS_MAX) return null
  const [, author, position] = ENTRY.exec(text) ?? []
  if (author !== undefined) return { kind: 'entry', author, position: Number(position) }
  const [, suffix, place] = SHORT_ENTRY.exec(text) ?? []
  if (suffix !== undefined) return { kind: 'short-entry', suffix, position: Number(place) }
  if (HASH.test(text)) return { kind: 'hash', hash: text }
  return TOPIC.test(text) ? { kind: 'topic', topic: text } : null
}
