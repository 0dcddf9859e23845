import { frontierAfter, placeMessages, type Frontier, type PlacedMessage } from './dag.ts'
import { encodeHead, type ThreadHead } from './head.ts'
import type { PreparedMessage } from './new-message.ts'
import type { ThreadVersion } from './thread-index.ts'

/** What a thread is, whatever messages it has. */
export type NewHead = Omit<ThreadHead, 'ends' | 'seq' | 'count' | 'added' | 'contents'>

/** A version that is not written yet: its head, what has to be there before it, its messages. */
export interface NewVersion extends Pick<ThreadVersion, 'head' | 'messages'> {
  /** The head's own is the last of them. */
  blobs: Buffer[]
  /** Where the thread ends with it. */
  frontier: Frontier
}

/** A thread with the messages it begins with, behind the point it was forked at if there is one. */
export function firstVersion(named: NewHead, prepared: readonly PreparedMessage[]): NewVersion {
  const { thread, from } = named
  const frontier = from ? { ends: from.messages, seq: from.seq } : { ends: [], seq: 0 }
  const unplaced = prepared.map((message) => message.unplaced)
  const placed = placeMessages(thread, frontier, unplaced)
  return newVersion(named, { frontier, messages: 0 }, { placed, prepared })
}

/** A thread with messages behind those it has; `placed` are the prepared ones, in their order. */
export function newVersion(
  named: NewHead,
  before: { frontier: Frontier; messages: number },
  { placed, prepared }: { placed: readonly PlacedMessage[]; prepared: readonly PreparedMessage[] },
): NewVersion {
  const added = placed.map(({ hash, message: { seq, parents } }) => ({ hash, seq, parents }))
  const frontier = frontierAfter(before.frontier, added)
  const contents = placed.flatMap(({ message: { contentHash } }) => contentHash ?? [])
  const head = {
    ...named,
    ...{ ends: [...frontier.ends], seq: frontier.seq, count: before.messages + placed.length },
    added: added.map(({ hash }) => hash),
    contents: [...new Set(contents)],
  }
  const own = prepared.flatMap(({ content, isStored }) =>
    content === undefined || isStored ? [] : [content],
  )
  const messages = placed.map(({ hash, message, bytes }, index) => {
    const { searched } = prepared[index]!
    return { hash, message, body: bytes.toString(), searched }
  })
  const blobs = [...own, ...placed.map(({ bytes }) => bytes), encodeHead(head)]
  return { head, messages, blobs, frontier }
}
