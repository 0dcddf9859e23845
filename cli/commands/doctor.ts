import type { Command } from 'commander'

import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { InvalidRequestError } from '../../shared/errors.ts'
import type { Reindexed } from '../../shared/thread/reindex.ts'
import { Threads } from '../../shared/thread/threads.ts'
import { withDatabase } from '../client/cluster-database.ts'
import { findConnection } from '../client/connection.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { createStepsBar } from '../output/steps-bar.ts'
import { layoutOf } from '../up/data-layout.ts'

interface Options {
  reindex?: boolean
  afresh?: boolean
  json?: boolean
  data?: string
}

/** `bzzz doctor --reindex`: what the nodes' disks know and the database lost. */
export function doctorCommand(program: Command, host: CommandHost): void {
  program
    .command('doctor')
    .description('mend what can be made anew')
    .option('--reindex', 'read all threads into the database again; may be ended and repeated')
    .option('--afresh', 'forget what the database has of a thread before it is read')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((options: Options) => doctor(host, options))
}

async function doctor(host: CommandHost, options: Options): Promise<void> {
  if (!options.reindex) throw new InvalidRequestError('Say what to do: --reindex.')
  const { nodes, token } = await findConnection(host, options.data)
  const layout = layoutOf(options.data ?? readCliConfig(host.env).BZZZ_DATA)
  const daemon = new DaemonClient({ endpoints: nodes.map(({ http }) => http) })
  const bar = createStepsBar(host.stderr, 'looking for threads')
  try {
    const done = await withDatabase(host, layout, ({ db }) => {
      let current = ''
      return new Threads({ daemon, db }).reindex(daemon, {
        token,
        signal: host.signal,
        afresh: options.afresh === true,
        onThread: (address) => (current = address),
        onVersions: (version, of) => bar.update(version, of, current),
      })
    })
    host.stdout.write(options.json ? `${JSON.stringify(done)}\n` : describe(done))
  } finally {
    bar.stop()
    await daemon.close()
  }
}

function describe({ threads, messages, damaged, partial }: Reindexed): string {
  const missing = 'Some nodes did not answer: repeat it when all of them are back.\n'
  const lost = damaged.map(({ address, hash }) => `Not to be read: ${hash} of ${address}\n`)
  const counts = `${threads} threads with ${messages} messages are in the index.\n`
  return counts + lost.join('') + (partial ? missing : '')
}
