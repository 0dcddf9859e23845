import cliProgress from 'cli-progress'

import type { Output } from '../host.ts'

export interface StepsBar {
  /** How much of how much is done. */
  update(done: number, of: number, label?: string): void
  stop(): void
}

/** Shows on a terminal, and there alone, how far a work of known length is. */
export function createStepsBar(output: Output, label: string): StepsBar {
  if (output.isTTY !== true) return { update: () => undefined, stop: () => undefined }
  let shown = label
  const bar = new cliProgress.SingleBar({
    stream: output as NodeJS.WriteStream,
    clearOnComplete: true,
    hideCursor: true,
    format: (options, { value, total, progress }) => {
      const size = Math.round(progress * (options.barsize ?? 0))
      const done = '█'.repeat(size) + '░'.repeat((options.barsize ?? 0) - size)
      return `${done}  ${Math.floor(value)} of ${total}  ${shown}`
    },
  })
  bar.start(1, 0)
  return {
    update: (done, of, text = label) => {
      shown = text
      bar.setTotal(Math.max(of, 1))
      bar.update(done)
    },
    stop: () => bar.stop(),
  }
}
