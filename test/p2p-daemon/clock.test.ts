import { beforeEach, describe, expect, it } from 'vitest'

import { SteadyClock } from '../../p2p-daemon/clock.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'

const THREE_DAYS_MS = 3 * 86_400_000
const START_MS = 1_800_000_000_000

let wallMs: number
let monotonicMs: number
let confirmed: boolean
let registry: Registry
let clock: SteadyClock

function pass(ms: number): void {
  wallMs += ms
  monotonicMs += ms
}

beforeEach(() => {
  wallMs = START_MS
  monotonicMs = 5_000
  confirmed = false
  registry = new Registry()
  clock = new SteadyClock({
    log: createSilentLogger(),
    registry,
    isConfirmed: () => confirmed,
    wall: () => wallMs,
    monotonic: () => monotonicMs,
  })
})

describe('SteadyClock', () => {
  it('follows the wall clock and its small corrections', () => {
    pass(1_000)
    expect(clock.now()).toBe(START_MS + 1_000)
    wallMs += 500
    expect(clock.now()).toBe(START_MS + 1_500)
    wallMs -= 2_000
    expect(clock.now()).toBe(START_MS - 500)
  })

  it.each([THREE_DAYS_MS, -THREE_DAYS_MS])('goes on when the wall clock is set by %i ms', (ms) => {
    wallMs += ms
    expect(clock.now()).toBe(START_MS)
    pass(60_000)
    expect(clock.now()).toBe(START_MS + 60_000)
    wallMs -= ms
    expect(clock.now()).toBe(START_MS + 60_000)
  })

  it('takes the new time once the cluster agrees with it', () => {
    wallMs += THREE_DAYS_MS
    expect(clock.now()).toBe(START_MS)
    confirmed = true
    expect(clock.now()).toBe(START_MS + THREE_DAYS_MS)
    confirmed = false
    pass(10)
    expect(clock.now()).toBe(START_MS + THREE_DAYS_MS + 10)
  })

  it('tells how far the wall clock was set', async () => {
    expect(await registry.metrics()).toContain('bzzz_clock_step_seconds 0')
    wallMs += THREE_DAYS_MS
    expect(await registry.metrics()).toContain('bzzz_clock_step_seconds 259200')
  })
})
