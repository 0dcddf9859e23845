import { InvalidArgumentError, type Command } from 'commander'

import type { CommandHost } from '../host.ts'
import { verifyLogs, type VerifyOptions } from '../migrate/verify.ts'
import { integer } from './integer.ts'

/** `bzzz migrate v1 verify`: what becomes of the logs of the release before. */
export function migrateCommand(program: Command, host: CommandHost): void {
  const migrate = program.command('migrate').description('bring over what other systems kept')
  const v1 = migrate.command('v1').description('logs of bzzz v1: files, folders, hypercores')
  v1.command('verify')
    .description('check the hash chains of logs; needs no running node')
    .argument('<path...>', 'NDJSON, JSON arrays, folders of them')
    .option('--json', 'print one line of JSON for each chain')
    .option('--trusted-head <hash>', 'a head that is known from elsewhere; repeatable', heads, [])
    .option('--expect-length <n>', 'entries that each chain must have', (n) => integer(n, 0))
    .action((paths: string[], options: VerifyOptions) => verifyLogs(host, paths, options))
}

function heads(text: string, before: readonly string[]): string[] {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new InvalidArgumentError('It is 64 hexadecimal digits.')
  return [...before, text.toLowerCase()]
}
