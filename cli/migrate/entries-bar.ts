import cliProgress from 'cli-progress'

import type { Output } from '../host.ts'

export interface EntriesBar {
  update(entries: number, fraction: number): void
  stop(): void
}

/** Entries done, their rate and the time left, on a terminal only; some may be done already. */
export function createEntriesBar(
  output: Output,
  label: string,
  already: { entries: number; fraction: number } = { entries: 0, fraction: 0 },
): EntriesBar {
  if (output.isTTY !== true) return { update: () => undefined, stop: () => undefined }
  const startedAt = performance.now()
  const bar = new cliProgress.SingleBar({
    stream: output as NodeJS.WriteStream,
    clearOnComplete: true,
    hideCursor: true,
    format: `${label}  {bar}  {percentage} %  {entries} entries  {rate}/s  {left}`,
  })
  bar.start(1, 0, { entries: 0, rate: 0, left: '' })
  return {
    update: (entries, fraction) => {
      const seconds = Math.max((performance.now() - startedAt) / 1000, 0.001)
      const rate = Math.round((entries - already.entries) / seconds)
      const gained = fraction - already.fraction
      const left = gained > 0 ? `${Math.ceil((seconds / gained) * (1 - fraction))} s left` : ''
      bar.update(Math.min(fraction, 1), { entries, rate, left })
    },
    stop: () => bar.stop(),
  }
}
