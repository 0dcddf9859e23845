import { setTimeout as sleep } from 'node:timers/promises'

import cliProgress from 'cli-progress'

import type { NodeClient } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'

/** How often a running pass is asked how far it is; a person sees no difference below. */
const POLL_MS = 250

/** How far a pass over the blobs of a node is. */
export interface PassProgress {
  done: number
  total: number | null
  running: boolean
}

/**
 * Follows a pass that a node has begun until it ends, with a bar on a terminal. Interrupting the
 * command leaves the pass running: it belongs to the node.
 */
export async function followPass<T>(
  host: CommandHost,
  node: NodeClient,
  pass: { path: string; label: string; progressOf: (state: T) => PassProgress },
): Promise<T> {
  const bar = host.stderr.isTTY === true ? createBar(host, pass.label) : null
  try {
    for (;;) {
      const state = await node.json<T>(pass.path)
      const { done, total, running } = pass.progressOf(state)
      bar?.setTotal(Math.max(total ?? done, 1))
      bar?.update(done)
      if (!running) return state
      await sleep(POLL_MS, undefined, { signal: host.signal })
    }
  } finally {
    bar?.stop()
  }
}

function createBar(host: CommandHost, label: string): cliProgress.SingleBar {
  const bar = new cliProgress.SingleBar({
    stream: host.stderr as NodeJS.WriteStream,
    clearOnComplete: true,
    hideCursor: true,
    format: `${label}  {bar}  {percentage} %  {value} of {total} blobs`,
  })
  bar.start(1, 0)
  return bar
}
