import { Command, CommanderError } from 'commander'

import { VERSION } from '../shared/version.ts'
import { agentsCommand } from './commands/agents.ts'
import { auditCommand } from './commands/audit.ts'
import { blobCommand } from './commands/blob.ts'
import { conflictCommands } from './commands/conflicts.ts'
import { doctorCommand } from './commands/doctor.ts'
import { exchangeCommand } from './commands/exchange.ts'
import { findCommand } from './commands/find.ts'
import { dbCommand } from './commands/db.ts'
import { gcCommand } from './commands/gc.ts'
import { getCommand } from './commands/get.ts'
import { jobsCommand } from './commands/jobs.ts'
import { migrateCommand } from './commands/migrate.ts'
import { mcpCommand } from './commands/mcp.ts'
import { nodeCommand } from './commands/node.ts'
import { policyCommand } from './commands/policy.ts'
import { putCommand } from './commands/put.ts'
import { resolveCommand } from './commands/resolve.ts'
import { scrubCommand } from './commands/scrub.ts'
import { statusCommand } from './commands/status.ts'
import { threadCommand } from './commands/thread.ts'
import { tokenCommand } from './commands/token.ts'
import { upCommand } from './commands/up.ts'
import { usageCommand } from './commands/usage.ts'
import { versionCommand } from './commands/version.ts'
import { EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, failureText, EXIT_FAILED } from './failure.ts'
import type { CommandHost } from './host.ts'

function createProgram(host: CommandHost): Command {
  const program = new Command('bzzz')
    .description('One memory and one switchboard for a small cluster of AI agents.')
    .version(VERSION)
    // Otherwise `put --version 2` would ask for the version of bzzz.
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError('(bzzz --help says more)')
    .configureOutput({
      writeOut: (text) => void host.stdout.write(text),
      writeErr: (text) => void host.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'bzzz: ')),
      getOutHelpWidth: () => host.stdout.columns ?? 80,
      getErrHelpWidth: () => host.stderr.columns ?? 80,
    })
  for (const add of [
    upCommand,
    statusCommand,
    putCommand,
    getCommand,
    resolveCommand,
    findCommand,
    threadCommand,
    conflictCommands,
    blobCommand,
    nodeCommand,
    agentsCommand,
    policyCommand,
    jobsCommand,
    scrubCommand,
    gcCommand,
    tokenCommand,
    auditCommand,
    mcpCommand,
    usageCommand,
    exchangeCommand,
    migrateCommand,
    dbCommand,
    doctorCommand,
    versionCommand,
  ]) {
    add(program, host)
  }
  return program
}

/** Runs one command. Returns the exit code; what went wrong is one line on stderr. */
export async function runCli(args: readonly string[], host: CommandHost): Promise<number> {
  try {
    await createProgram(host).parseAsync(args, { from: 'user' })
    return EXIT_OK
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE
    if (isInterruption(error, host.signal)) return EXIT_INTERRUPTED
    host.stderr.write(failureText(error))
    return EXIT_FAILED
  }
}

/** Only what the signal itself caused: something else that failed on the way out is told. */
function isInterruption(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError')
}
