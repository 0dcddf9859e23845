import { PERIOD_SHARE } from './constants.ts'

export interface PaceLimits {
  /** Never above this, averaged over a piece and the pause after it. */
  bytesPerSecondMax: number
  /** Share of the time in which the disk may be busy reading for the scrub, up to 1. */
  ioShare: number
}

/** How long to leave the disk alone after it was busy for `busyMs` reading `bytes`. */
export function pauseAfter(bytes: number, busyMs: number, limits: PaceLimits): number {
  const forRateMs = (bytes / limits.bytesPerSecondMax) * 1000 - busyMs
  const forShareMs = busyMs * (1 / limits.ioShare - 1)
  return Math.max(forRateMs, forShareMs, 0)
}

/** First 12 hex digits of a hash as a number below this. */
const POSITIONS = 2 ** 48

/**
 * When a regular pass that began at `startedMs` should be past `hash`. Hashes are uniform, so the
 * place of a hash among all hashes is the part of the store before it, whatever is added or
 * deleted meanwhile.
 */
export function dueAfter(hash: string, startedMs: number, periodMs: number): number {
  const position = Number.parseInt(hash.slice(0, 12), 16) / POSITIONS
  return startedMs + position * periodMs * PERIOD_SHARE
}
