import { frontierAfter, placeMessages } from './dag.ts'
import { encodeHead, type ThreadHead } from './head.ts'
import type { PreparedMessage } from './new-message.ts'
import type { ThreadVersion } from './thread-index.ts'

/** What a thread is before it has any message. */
export type NewHead = Omit<ThreadHead, 'ends' | 'seq' | 'count' | 'added' | 'contents'>

/** Version 1 of a thread: its head, the blobs that have to be there before it, and its messages. */
export interface FirstVersion extends Pick<ThreadVersion, 'head' | 'messages'> {
  /** The head's own is the last of them. */
  blobs: Buffer[]
}

/** A thread with the messages it begins with, behind the point it was forked at if there is one. */
export function firstVersion(named: NewHead, prepared: readonly PreparedMessage[]): FirstVersion {
  const { thread, from } = named
  const start = from ? { ends: from.messages, seq: from.seq } : { ends: [], seq: 0 }
  const unplaced = prepared.map((message) => message.unplaced)
  const placed = placeMessages(thread, start, unplaced)
  const added = placed.map(({ hash, message: { seq, parents } }) => ({ hash, seq, parents }))
  const { ends, seq } = frontierAfter(start, added)
  const contents = placed.flatMap(({ message: { contentHash } }) => contentHash ?? [])
  const head = {
    ...named,
    ...{ ends: [...ends], seq, count: placed.length },
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
  return { head, messages, blobs: [...own, ...placed.map(({ bytes }) => bytes), encodeHead(head)] }
}
