import type { Command } from 'commander'

import { VERSION } from '../../shared/version.ts'
import type { CommandHost } from '../host.ts'

export function versionCommand(program: Command, host: CommandHost): void {
  program
    .command('version')
    .description('print the version')
    .option('--json', 'print JSON')
    .action(({ json }: { json?: boolean }) => {
      const node = process.versions.node
      host.stdout.write(
        json
          ? `${JSON.stringify({ version: VERSION, node })}\n`
          : `bzzz ${VERSION} (node ${node})\n`,
      )
    })
}
