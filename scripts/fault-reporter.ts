import type { Reporter, TestCase } from 'vitest/node'

import type { FaultRow } from '../test/faults/rounds.ts'

/** Prints what the fault tests of a run counted as one table, those that failed included. */
export class FaultReporter implements Reporter {
  readonly #rows: (FaultRow & { passed: boolean })[] = []

  onTestCaseResult(test: TestCase): void {
    const { fault } = test.meta()
    const { state } = test.result()
    if (fault && state !== 'skipped') this.#rows.push({ ...fault, passed: state === 'passed' })
  }

  onTestRunEnd(): void {
    if (this.#rows.length === 0) return
    const head = ['fault', 'rounds', 'lost', 'wrong', 'slowest ready', 'seed', '', 'measured']
    const lines = this.#rows.map((row) => [
      row.fault,
      String(row.rounds),
      String(row.lost),
      String(row.wrong),
      row.readyMsMax === null ? '-' : `${row.readyMsMax} ms`,
      String(row.seed),
      row.passed ? 'holds' : 'FAILED',
      row.note,
    ])
    const widths = head.map((_, at) =>
      Math.max(...[head, ...lines].map((line) => line[at]!.length)),
    )
    for (const line of [head, ...lines]) {
      console.log(
        line
          .map((text, at) => text.padEnd(widths[at]!))
          .join('  ')
          .trimEnd(),
      )
    }
    this.#rows.length = 0
  }
}
