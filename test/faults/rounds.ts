import type { TestContext } from 'vitest'

import type { Daemon } from '../helpers/daemons.ts'
import { seeded } from '../p2p-daemon/store/random.ts'

/** What one fault test counted; the run ends with a table of all of them. */
export interface FaultRow {
  fault: string
  rounds: number
  /** Acknowledged and not there afterwards. */
  lost: number
  /** Served bytes that do not have their hash. */
  wrong: number
  /**
   * Slowest start of a daemon up to its first answer, without the time in which other programs
   * had the processors; null where none was started again.
   */
  readyMsMax: number | null
  seed: number
  /** Whatever else was measured, as one line. */
  note: string
}

declare module 'vitest' {
  interface TaskMeta {
    fault?: FaultRow
  }
}

/** `npm run test:faults` runs the long form, `npm test` the short one. */
export const LONG = process.env['BZZZ_FAULTS'] === 'long'

/** Another one in every run, unless the one that failed is to be seen again. */
export const SEED = Number(process.env['BZZZ_FAULTS_SEED'] ?? Date.now() % 1_000_000)

/** A test of that many rounds, with its random numbers and its row of the table. */
export function beginFault(
  context: TestContext,
  { fault, rounds }: { fault: string; rounds: { short: number; long: number } },
): { row: FaultRow; random: () => number } {
  const row: FaultRow = {
    fault,
    rounds: LONG ? rounds.long : rounds.short,
    lost: 0,
    wrong: 0,
    readyMsMax: null,
    seed: SEED,
    note: '',
  }
  // Filled in as the test goes, so that a test that fails shows how far it came.
  context.task.meta.fault = row
  console.log(`${fault}: BZZZ_FAULTS_SEED=${SEED}, ${row.rounds} rounds`)
  return { row, random: seeded(SEED) }
}

export function sawReady(row: FaultRow, { readyMs, queuedMs }: Daemon): void {
  row.readyMsMax = Math.max(row.readyMsMax ?? 0, Math.round(readyMs - queuedMs))
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
