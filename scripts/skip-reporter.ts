import type { Reporter, TestCase } from 'vitest/node'

/**
 * Says before the summary which tests were left out and why; vitest itself only counts them. A
 * test gives its reason with `context.skip('the reason')`.
 */
export class SkipReporter implements Reporter {
  readonly #reasons = new Map<string, number>()

  onTestCaseResult(test: TestCase): void {
    const result = test.result()
    // Without a note the test was not chosen on the command line.
    if (result.state !== 'skipped' || result.note === undefined) return
    const reason = `${test.module.relativeModuleId}: ${result.note}`
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1)
  }

  onTestRunEnd(): void {
    for (const [reason, count] of this.#reasons) console.log(`left out: ${count} of ${reason}`)
    this.#reasons.clear()
  }
}
