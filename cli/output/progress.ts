import { Transform, type TransformCallback } from 'node:stream'

import cliProgress from 'cli-progress'

import type { Output } from '../host.ts'
import { formatBytes } from './format.ts'

/** Below this a bar would be gone before it is seen. */
const BAR_BYTES_MIN = 1024 * 1024

/**
 * Passes bytes on and shows how far they are, on a terminal only. Without a known size, or for
 * little content, it only passes on.
 */
export function createProgress(
  output: Output,
  { label, sizeBytes }: { label: string; sizeBytes: number | null },
): Transform {
  const shown = output.isTTY === true && sizeBytes !== null && sizeBytes >= BAR_BYTES_MIN
  const bar = shown ? startBar(output, label, sizeBytes) : null
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      bytes += chunk.length
      bar?.update(bytes)
      done(null, chunk)
    },
    destroy(error, done) {
      bar?.stop()
      done(error)
    },
  })
}

function startBar(output: Output, label: string, sizeBytes: number): cliProgress.SingleBar {
  const bar = new cliProgress.SingleBar({
    stream: output as NodeJS.WriteStream,
    clearOnComplete: true,
    hideCursor: true,
    format: (_options, { value, total, startTime }) => {
      const seconds = Math.max(Date.now() - startTime, 1) / 1000
      const percent = Math.floor((100 * value) / total)
      const rate = formatBytes(Math.round(value / seconds))
      return `${label}  ${String(percent).padStart(3)} %  ${formatBytes(value)} of ${formatBytes(total)}  ${rate}/s`
    },
  })
  bar.start(sizeBytes, 0)
  return bar
}
