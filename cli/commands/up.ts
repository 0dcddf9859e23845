import type { Command } from 'commander'

import { readUpConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { NODES_MAX, PORT_OFFSET_MAX } from '../up/constants.ts'
import { integer } from './integer.ts'
import { nodeName } from './node-name.ts'

interface Options {
  data?: string
  nodes?: number
  portOffset?: number
  name?: string
  listen?: string
  json?: boolean
  verbose?: boolean
}

export function upCommand(program: Command, host: CommandHost): void {
  program
    .command('up')
    .description('run a cluster on this machine until Ctrl-C')
    .option('--data <dir>', 'folder that everything is kept in (default: .bzzz)')
    .option(
      '--nodes <n>',
      `nodes to run, 1 to ${NODES_MAX} (default: as last time, 1 at first)`,
      (text) => integer(text, 1, NODES_MAX),
    )
    .option(
      '--name <name>',
      'name of the first node, kept from then on (default: walnut)',
      nodeName,
    )
    .option(
      '--listen <address>',
      'where nodes of other machines connect: 0.0.0.0 for every address (default: BZZZ_HOST)',
    )
    .option('--port-offset <n>', 'add this to every port (default: 0)', (text) =>
      integer(text, 0, PORT_OFFSET_MAX),
    )
    .option('--json', 'print one line of JSON once it is ready; logs go to stderr')
    .option('--verbose', 'show the logs of all parts as well')
    .action(async (options: Options) => {
      // Loaded here alone: database, Redis and log are of no use to the other commands.
      const { up } = await import('../up/up.ts')
      const config = readUpConfig(host.env)
      await up(host, config, {
        dataDir: options.data ?? config.BZZZ_DATA,
        nodes: options.nodes,
        name: options.name,
        listen: options.listen,
        offset: options.portOffset ?? config.BZZZ_PORT_OFFSET,
        json: options.json ?? false,
        verbose: options.verbose ?? false,
      })
    })
}
