/**
 * Loaded into a daemon before its own code (`--import`): SIGUSR2 sets its wall clock by as many
 * milliseconds as BZZZ_TEST_CLOCK_STEP_MS says, once more sets it back. Only what reads the time
 * of day is changed; timers and the monotonic clock go on, as they do when a clock is set.
 */
const STEP_MS = Number(process.env['BZZZ_TEST_CLOCK_STEP_MS'])
const RealDate = Date

let stepMs = process.env['BZZZ_TEST_CLOCK_SET'] === '1' ? STEP_MS : 0

class SetDate extends RealDate {
  constructor(...given: unknown[]) {
    const values = given.length === 0 ? [SetDate.now()] : given
    super(...(values as [number]))
  }

  static override now(): number {
    return RealDate.now() + stepMs
  }
}

globalThis.Date = SetDate as DateConstructor

process.on('SIGUSR2', () => {
  stepMs = stepMs === 0 ? STEP_MS : 0
})
