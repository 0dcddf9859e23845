import { execFile } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { ProcessStartError } from '../../../shared/errors.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { READY_POLL_INTERVAL_MS } from '../constants.ts'

/** A fast shutdown writes one checkpoint; a server that needs longer is killed and recovers. */
const SHUTDOWN_TIMEOUT_MS = 5_000

/**
 * Deals with the server that a killed supervisor left. `postmaster.pid` names it; its process is
 * stopped when it really is a server of this data folder. A process id that meanwhile belongs to
 * something else would keep Postgres from starting, so then the stale file is removed. A file
 * whose process is gone is left: Postgres itself checks what that server may still share.
 * Only for the holder of the folder's lock.
 */
export async function stopPreviousServer(dataDir: string, { log }: { log: Logger }): Promise<void> {
  const file = join(dataDir, 'postmaster.pid')
  const pid = await readPid(file)
  if (pid === null || !isAlive(pid)) return
  if (!(await isServerOf(pid, dataDir))) {
    log.warn({ pid }, 'removing the stale pid file of a database server that is gone')
    await rm(file, { force: true })
    return
  }
  log.warn({ pid }, 'stopping the database server that an earlier run left')
  if (await endsAfter(pid, dataDir, 'SIGINT')) return
  if (await endsAfter(pid, dataDir, 'SIGKILL')) return
  throw new ProcessStartError(
    `A database server of an earlier run (process ${pid}) does not end: stop it, then start again.`,
  )
}

export async function readPid(file: string): Promise<number | null> {
  try {
    const pid = Number((await readFile(file, 'utf8')).split('\n')[0])
    return Number.isInteger(pid) && pid > 1 ? pid : null
  } catch {
    return null
  }
}

async function isServerOf(pid: number, dataDir: string): Promise<boolean> {
  const command = await commandOf(pid)
  return command.includes('postgres') && command.includes(dataDir)
}

async function commandOf(pid: number): Promise<string> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')
  } catch {
    // No /proc on this system: ps has the same line.
  }
  try {
    return (await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)])).stdout
  } catch {
    return ''
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Asked by its command line: a zombie that nobody reaps has none and counts as ended. */
async function endsAfter(pid: number, dataDir: string, signal: NodeJS.Signals): Promise<boolean> {
  const deadlineMs = Date.now() + SHUTDOWN_TIMEOUT_MS
  try {
    process.kill(pid, signal)
  } catch {
    return !isAlive(pid)
  }
  while (Date.now() < deadlineMs) {
    if (!(await isServerOf(pid, dataDir))) return true
    await sleep(READY_POLL_INTERVAL_MS)
  }
  return false
}
