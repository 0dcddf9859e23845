import { isIPv6 } from 'node:net'

import { LRUCache } from 'lru-cache'

/** Failures of one address in a window before it is told to wait: a person mistypes a few times. */
const FAILURES_MAX = 60
const WINDOW_MS = 60_000

/** Addresses remembered. Whoever has more than this at hand pushes out the oldest ones. */
const ADDRESSES_MAX = 10_000

interface Window {
  failures: number
  endsMs: number
}

/**
 * Counts failed authentications by remote address. It only ever speaks about failures: a good token
 * from the same address (a proxy, a shared machine) is not asked for here and goes through.
 */
export class FailureLimit {
  readonly #windows = new LRUCache<string, Window>({ max: ADDRESSES_MAX })

  /** Counts one. Seconds to wait when the address has had too many, else 0. */
  count(address: string, nowMs = performance.now()): number {
    const key = networkOf(address)
    const known = this.#windows.get(key)
    const open = known && known.endsMs > nowMs ? known : { failures: 0, endsMs: nowMs + WINDOW_MS }
    open.failures += 1
    this.#windows.set(key, open)
    return open.failures > FAILURES_MAX ? Math.ceil((open.endsMs - nowMs) / 1000) : 0
  }
}

/** One host of IPv6 has a whole /64 to come from; IPv4 in IPv6 notation is IPv4. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped) return mapped[1]!
  if (!isIPv6(address)) return address
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right]
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}
