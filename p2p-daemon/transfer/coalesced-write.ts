import type { Writable } from 'node:stream'

/**
 * Writes with everything else that is written in the same turn of the event loop. Each write to a
 * TLS socket is a record, a system call and as a rule a wake-up of the other side, so for many
 * small ones this halves the work. Together they are copied once more: not for large buffers.
 */
export function writeSoon(socket: Writable, ...buffers: readonly Uint8Array[]): void {
  if (socket.writableCorked === 0) {
    socket.cork()
    setImmediate(() => socket.uncork())
  }
  for (const buffer of buffers) socket.write(buffer)
}

/** Writes without a copy, after all that was written before. */
export function writeNow(socket: Writable, ...buffers: readonly Uint8Array[]): void {
  // The turn's own uncork then finds nothing to do.
  if (socket.writableCorked > 0) socket.uncork()
  for (const buffer of buffers) socket.write(buffer)
}
