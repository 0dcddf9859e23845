import { encodeMessage, type ThreadMessage } from './message.ts'
import { hashBytes } from '../blob/hash.ts'
import { PARENTS_MAX } from './constants.ts'

/** A message that is about to be: everything but its place. */
export type UnplacedMessage = Omit<ThreadMessage, 'thread' | 'seq' | 'parents'>

/** A message and the blob it is. */
export interface PlacedMessage {
  hash: string
  message: ThreadMessage
  bytes: Buffer
}

/** Where a thread ends: what the next message follows. */
export interface Frontier {
  /** In order, none twice. */
  ends: readonly string[]
  seq: number
}

/** Puts messages behind the ends of a thread, one behind the other. */
export function placeMessages(
  thread: string,
  { ends, seq }: Frontier,
  messages: readonly UnplacedMessage[],
): PlacedMessage[] {
  const placed: PlacedMessage[] = []
  let parents = ends.slice(0, PARENTS_MAX)
  for (const [index, unplaced] of messages.entries()) {
    const message = { ...unplaced, thread, seq: seq + 1 + index, parents }
    const bytes = encodeMessage(message)
    const hash = hashBytes(bytes)
    placed.push({ hash, message, bytes })
    parents = [hash]
  }
  return placed
}

/** The ends of a thread after messages came whose parents are all there already or among them. */
export function frontierAfter(
  frontier: Frontier,
  messages: readonly { hash: string; seq: number; parents: readonly string[] }[],
): Frontier {
  const ends = new Set(frontier.ends)
  for (const { hash } of messages) ends.add(hash)
  for (const { parents } of messages) for (const parent of parents) ends.delete(parent)
  const seq = messages.reduce((most, message) => Math.max(most, message.seq), frontier.seq)
  return { ends: [...ends].toSorted(), seq }
}
