import type { Readable, Writable } from 'node:stream'

import type { Env } from '../shared/config/env.ts'

/** A terminal or not, with the size that a progress bar needs. */
export type Output = Writable & { isTTY?: boolean; columns?: number; rows?: number }

/** What the entry point gives to the commands, so that none of them owns the process. */
export interface CommandHost {
  env: Env
  stdin: Readable
  stdout: Output
  stderr: Output
  /** Aborts at the first SIGINT, SIGTERM or SIGHUP. */
  signal: AbortSignal
  /**
   * Aborts at a second one that is no echo of the first: whoever waits for an orderly end stops
   * waiting.
   */
  force: AbortSignal
}
