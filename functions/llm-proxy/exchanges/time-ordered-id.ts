import { randomUUID } from 'node:crypto'

/** A UUID of version 7: those of later milliseconds sort later. */
export function timeOrderedId(nowMs = Date.now()): string {
  const time = nowMs.toString(16).padStart(12, '0')
  // Node keeps random bytes in store for these; its variant bits are those of version 7 too.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
