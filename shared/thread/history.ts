import type { CallOptions } from '../daemon/daemon-client.ts'
import type { RecordJSON } from '../record/record.ts'
import { VERSIONS_PER_PAGE } from './constants.ts'
import type { ThreadDaemon } from './thread-blobs.ts'

/**
 * The versions of an address above `from` up to `to`, also those of forks, the oldest first, some
 * at a time.
 */
export async function* versionsOf(
  daemon: Pick<ThreadDaemon, 'history'>,
  address: string,
  { from, to }: { from: number; to: number },
  options: CallOptions,
): AsyncGenerator<{ records: RecordJSON[]; upTo: number }> {
  for (let low = from; low < to; low += VERSIONS_PER_PAGE) {
    const upTo = Math.min(low + VERSIONS_PER_PAGE, to)
    const records: RecordJSON[] = []
    let before: number | null = upTo + 1
    while (before !== null && before > low + 1) {
      options.signal?.throwIfAborted()
      const range = { before: String(before), limit: String(upTo - low) }
      const page: { records: RecordJSON[]; next: number | null } = await daemon.history(address, {
        ...options,
        ...range,
      })
      records.push(...page.records.filter(({ version }) => version > low))
      before = page.records.length === 0 ? null : page.next
    }
    yield { records: records.toSorted((a, b) => a.version - b.version), upTo }
  }
}

/** Records that a version follows on or settles. */
export function parentsOf({ previous, merged = [] }: RecordJSON): string[] {
  return [...(previous === null ? [] : [previous]), ...merged]
}
