import { setTimeout as sleep } from 'node:timers/promises'

import type { Command } from 'commander'

import { DaemonUnavailableError } from '../../shared/errors.ts'
import { readClusterStatus, type ClusterStatus } from '../client/cluster-status.ts'
import { findConnection, type Connection } from '../client/connection.ts'
import type { CommandHost } from '../host.ts'
import { formatStatus } from '../output/cluster-text.ts'

interface Options {
  json?: boolean
  data?: string
  watch?: boolean
}

/** Latencies and counts change no faster than this. */
const WATCH_INTERVAL_MS = 2_000

/** To the upper left corner, then nothing below: what stays the same does not flicker. */
const CURSOR_HOME = '\u001b[H'
const CLEAR_SCREEN = '\u001b[2J'
const CLEAR_BELOW = '\u001b[J'

export function statusCommand(program: Command, host: CommandHost): void {
  program
    .command('status')
    .description('show the nodes, the links between them, the gateway and the database')
    .option('--json', 'print JSON')
    .option('--watch', 'show it again and again, until Ctrl-C')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((options: Options) => status(host, options))
}

async function status(host: CommandHost, options: Options): Promise<void> {
  const connection = await findConnection(host, options.data)
  if (options.watch) return watch(host, connection, options)
  const cluster = await readClusterStatus(connection, host.signal)
  host.stdout.write(options.json ? `${JSON.stringify(cluster)}\n` : formatStatus(cluster))
  const [first] = cluster.nodes
  if (first?.up === false && cluster.nodes.every(({ up }) => !up)) {
    throw new DaemonUnavailableError(`No node answers: ${first.error}`)
  }
}

/** A cluster that is down is shown as such and may come back. Ctrl-C is the end, no failure. */
async function watch(host: CommandHost, connection: Connection, options: Options): Promise<void> {
  const { stdout, signal } = host
  const redraws = stdout.isTTY === true && !options.json
  if (redraws) stdout.write(CLEAR_SCREEN)
  try {
    for (;;) {
      const cluster = await readClusterStatus(connection, signal)
      if (options.json) stdout.write(`${JSON.stringify(cluster)}\n`)
      else if (redraws) stdout.write(redrawn(cluster, stdout.rows))
      else stdout.write(`${new Date().toISOString()}\n${formatStatus(cluster)}\n`)
      await sleep(WATCH_INTERVAL_MS, undefined, { signal })
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** As much as fits: a screen that scrolls is not drawn over. */
function redrawn(cluster: ClusterStatus, rows: number | undefined): string {
  const time = new Date().toTimeString().slice(0, 8)
  const lines = `bzzz status, ${time}, Ctrl-C to end\n\n${formatStatus(cluster)}`.split('\n')
  const shown = rows === undefined ? lines : lines.slice(0, Math.max(1, rows - 1))
  // What an earlier, longer line left behind goes with the end of each line.
  return CURSOR_HOME + shown.map((line) => `${line}\u001b[K\n`).join('') + CLEAR_BELOW
}
