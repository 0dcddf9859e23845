import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import type { Env } from '../../shared/config/env.ts'
import type { EntryMessage } from '../../shared/process/entry.ts'
import { PROCESS_READY_TIMEOUT_MS } from './constants.ts'
import { openLogFile } from './log-file.ts'
import { said, type ProcessSpec } from './supervised-process.ts'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** What a process says once it serves. */
export type ReadyMessage = Extract<EntryMessage, { ready: true }>

export interface PartSpec {
  name: string
  /** Relative to the project: `p2p-daemon/main.ts`. */
  entry: string
  env: Env
  logFile: string
  stopTimeoutMs: number
}

/**
 * A part of bzzz as a child process. It reports over an IPC channel and ends when the channel
 * closes, so nothing outlives a supervisor that is killed. Its log is written by itself.
 */
export function partProcess(part: PartSpec): ProcessSpec<ReadyMessage> {
  return {
    name: part.name,
    logFile: part.logFile,
    readyTimeoutMs: PROCESS_READY_TIMEOUT_MS,
    stopTimeoutMs: part.stopTimeoutMs,
    spawn: () => {
      const logFd = openLogFile(part.logFile)
      try {
        return spawn(process.execPath, [part.entry], {
          cwd: PROJECT,
          env: { ...part.env },
          detached: true,
          stdio: ['ignore', logFd, logFd, 'ipc'],
        })
      } finally {
        closeSync(logFd)
      }
    },
    waitReady,
    requestStop: (child) => child.kill('SIGTERM'),
  }
}

async function waitReady(child: ChildProcess, signal: AbortSignal): Promise<ReadyMessage> {
  const [message] = (await once(child, 'message', { signal })) as [EntryMessage]
  if ('error' in message) throw said(message.error.message)
  return message
}

/**
 * The environment of a child: the supervisor's, with `values` in place of what it has. A file that
 * was to give the same value is left out, as giving both is an error; so is the caller's token.
 */
export function childEnv(env: Env, values: Readonly<Record<string, string>>): Env {
  const { BZZZ_TOKEN: _token, BZZZ_TOKEN_FILE: _tokenFile, ...rest } = env
  const merged: Record<string, string | undefined> = { ...rest, ...values }
  for (const name of Object.keys(values)) {
    if (!(`${name}_FILE` in values)) delete merged[`${name}_FILE`]
  }
  return merged
}
