/**
 * Long-lived things start and stop. Both are idempotent: a second `start` while running and a
 * second `stop` while stopped do nothing.
 */
export interface Startable {
  start(options?: { signal?: AbortSignal }): Promise<void>
  stop(): Promise<void>
}

/** Starts in order. When one fails, those already started stop in reverse, then it throws. */
export async function startAll(
  parts: readonly Startable[],
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const started: Startable[] = []
  try {
    for (const part of parts) {
      options.signal?.throwIfAborted()
      await part.start(options)
      started.push(part)
    }
  } catch (error) {
    await stopAll(started).catch(() => undefined)
    throw error
  }
}

/** Stops in reverse order. Every part is stopped even when one fails; the failures are thrown. */
export async function stopAll(parts: readonly Startable[]): Promise<void> {
  const failures: unknown[] = []
  for (const part of parts.toReversed()) {
    try {
      await part.stop()
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, 'Some parts did not stop cleanly.')
}
