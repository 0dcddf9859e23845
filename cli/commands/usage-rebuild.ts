import type { Command } from 'commander'

import { checkLabel } from '../../shared/address/labels.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { rebuildUsage, type RebuiltUsage } from '../../shared/llm/rebuild-usage.ts'
import { withDatabase } from '../client/cluster-database.ts'
import { findConnection } from '../client/connection.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { createStepsBar } from '../output/steps-bar.ts'
import { layoutOf } from '../up/data-layout.ts'
import { parseDuration } from './duration.ts'

interface Options {
  since?: number
  project?: string
  json?: boolean
  data?: string
}

/** `bzzz usage rebuild`: what the nodes' disks know of calls and the database lost. */
export function rebuildCommand(usage: Command, host: CommandHost): void {
  usage
    .command('rebuild')
    .description('write usage that the database lost again, from the recorded exchanges')
    .option('--since <duration>', 'only calls of the last 24h, 7d; by default all', parseDuration)
    .option('--project <name>', 'only of this project')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of the cluster')
    .action((options: Options) => rebuild(host, options))
}

async function rebuild(host: CommandHost, options: Options): Promise<void> {
  const { since, project } = options
  const { nodes, token } = await findConnection(host, options.data)
  const layout = layoutOf(options.data ?? readCliConfig(host.env).BZZZ_DATA)
  const daemon = new DaemonClient({ endpoints: nodes.map(({ http }) => http) })
  const bar = createStepsBar(host.stderr, 'looking for exchanges')
  try {
    const done = await withDatabase(host, layout, ({ db }) =>
      rebuildUsage(
        { daemon, db },
        {
          token,
          signal: host.signal,
          project: project === undefined ? undefined : checkLabel('project', project),
          since: since === undefined ? undefined : new Date(Date.now() - since),
          onBatch: (address, done, of) => bar.update(done, of, address),
        },
      ),
    )
    host.stdout.write(options.json ? `${JSON.stringify(done)}\n` : describe(done))
  } finally {
    bar.stop()
    await daemon.close()
  }
}

function describe({ batches, calls, rows, damaged, partial }: RebuiltUsage): string {
  const counts = `${rows} of ${calls} calls in ${batches} batches were missing and are there again.\n`
  const lost = damaged.map((address) => `Not to be read: ${address}\n`)
  const missing = 'Some nodes did not answer: repeat it when all of them are back.\n'
  return counts + lost.join('') + (partial ? missing : '')
}
