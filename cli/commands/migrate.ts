import { InvalidArgumentError, type Command } from 'commander'

import type { CommandHost } from '../host.ts'
import {
  exportImport,
  showReport,
  showStatus,
  undoImport,
  type ImportOptions,
} from '../migrate/imports.ts'
import { planImport, type PlanOptions } from '../migrate/plan.ts'
import { runImport, type RunOptions } from '../migrate/run.ts'
import { verifyLogs, type VerifyOptions } from '../migrate/verify.ts'
import { integer } from './integer.ts'

const LOGS = 'NDJSON, JSON arrays, Hypercores, Corestores, or folders of them'
const LOGS_OR_IMPORT = `the id of an import, or its logs`

/** `bzzz migrate v1 plan|run|status|verify|report|undo|export`: what the Go release logged. */
export function migrateCommand(program: Command, host: CommandHost): void {
  const migrate = program.command('migrate').description('bring over what other systems kept')
  const v1 = migrate.command('v1').description('logs of bzzz v1')
  offline(v1, host)
  const add = (name: string, description: string, paths: string): Command =>
    v1
      .command(name)
      .description(description)
      .argument(paths, paths === '<path...>' ? LOGS : LOGS_OR_IMPORT)
      .option('--json', 'print JSON')
      .option('--data <dir>', 'data folder of a local cluster')
  expectations(add('run', 'import logs; asked again, it goes on where it was', '<path...>'))
    .option('--hosts <file>', 'JSON that maps authors to hosts')
    .option('--strict', 'import nothing when anything is wrong')
    .action((paths: string[], options: RunOptions) => runImport(host, paths, options))
  add('status', 'how far imports are', '[import...]').action(
    (paths: string[], options: ImportOptions) => showStatus(host, paths, options),
  )
  add('report', 'what an import brought and verified', '<import...>').action(
    (paths: string[], options: ImportOptions) => showReport(host, paths, options),
  )
  add('undo', 'take back what an import brought, and nothing else', '<import...>').action(
    (paths: string[], options: ImportOptions) => undoImport(host, paths, options),
  )
  add('export', 'write what was imported, byte for byte', '<import...>')
    .requiredOption('--output <dir>', 'folder for one file of each chain')
    .action((paths: string[], options: ImportOptions & { output: string }) =>
      exportImport(host, paths, options),
    )
}

/** What needs no running node. */
function offline(v1: Command, host: CommandHost): void {
  expectations(v1.command('verify').description('check the hash chains of logs; needs no node'))
    .argument('<path...>', LOGS)
    .option('--json', 'print one line of JSON for each chain')
    .action((paths: string[], options: VerifyOptions) => verifyLogs(host, paths, options))
  v1.command('plan')
    .description('what an import would bring, and what is wrong with it; needs no node')
    .argument('<path...>', LOGS)
    .option('--json', 'print JSON')
    .option('--hosts <file>', 'JSON that maps authors to hosts')
    .option('--strict', 'fail when anything would be set aside')
    .action((paths: string[], options: PlanOptions) => planImport(host, paths, options))
}

function expectations(command: Command): Command {
  return command
    .option('--trusted-head <hash>', 'a head that is known from elsewhere; repeatable', heads, [])
    .option('--expect-length <n>', 'entries that each chain must have', (n) => integer(n, 0))
}

function heads(text: string, before: readonly string[]): string[] {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new InvalidArgumentError('It is 64 hexadecimal digits.')
  return [...before, text.toLowerCase()]
}
