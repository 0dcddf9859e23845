import { IdempotencyMismatchError } from '../errors.ts'
import type { AppendedItem, WaitingAppend } from './append-queue.ts'
import type { PlacedMessage } from './dag.ts'
import { isSameMessage, type PreparedMessage } from './new-message.ts'
import type { KnownKey } from './thread-index.ts'

/** What becomes of one message of a call: it is there already, or it is one of the new ones. */
type Slot = { known: KnownKey } | { fresh: number; existed: boolean }

export interface AppendPlan {
  /** Messages that the next version adds, in order. */
  fresh: readonly PreparedMessage[]
  slots: ReadonlyMap<WaitingAppend, readonly Slot[]>
  /** Calls that used a key again for something else. */
  refused: ReadonlyMap<WaitingAppend, IdempotencyMismatchError>
}

/** Sorts the messages of calls into new ones and ones that are there by their keys. */
export function planAppend(
  calls: readonly WaitingAppend[],
  known: ReadonlyMap<string, KnownKey>,
): AppendPlan {
  const fresh: PreparedMessage[] = []
  const byKey = new Map<string, number>()
  const slots = new Map<WaitingAppend, Slot[]>()
  const refused = new Map<WaitingAppend, IdempotencyMismatchError>()
  for (const call of calls) {
    const other = call.messages.find((message) => {
      const { key } = message.unplaced
      const first =
        key === undefined ? undefined : (known.get(key)?.message ?? at(fresh, byKey.get(key)))
      return first && !isSameMessage(first, message.unplaced)
    })
    if (other) {
      const text = `The key ${other.unplaced.key} was used for another message of this thread.`
      refused.set(call, new IdempotencyMismatchError(text))
      continue
    }
    slots.set(
      call,
      call.messages.map((message) => place(message, { known, byKey, fresh })),
    )
  }
  return { fresh, slots, refused }
}

function at(fresh: readonly PreparedMessage[], index: number | undefined) {
  return index === undefined ? undefined : fresh[index]?.unplaced
}

function place(
  message: PreparedMessage,
  into: {
    known: ReadonlyMap<string, KnownKey>
    byKey: Map<string, number>
    fresh: PreparedMessage[]
  },
): Slot {
  const { key } = message.unplaced
  const found = key === undefined ? undefined : into.known.get(key)
  if (found) return { known: found }
  const earlier = key === undefined ? undefined : into.byKey.get(key)
  if (earlier !== undefined) return { fresh: earlier, existed: true }
  if (key !== undefined) into.byKey.set(key, into.fresh.length)
  into.fresh.push(message)
  return { fresh: into.fresh.length - 1, existed: false }
}

/** What the calls are answered, once the new messages have their places. */
export function itemsOf(slots: readonly Slot[], placed: readonly PlacedMessage[]): AppendedItem[] {
  return slots.map((slot) => {
    if ('known' in slot) return { hash: slot.known.hash, seq: slot.known.seq, existed: true }
    const { hash, message } = placed[slot.fresh]!
    return { hash, seq: message.seq, existed: slot.existed }
  })
}
