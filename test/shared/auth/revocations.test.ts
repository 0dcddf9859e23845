import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import type { Revocation } from '../../../shared/auth/revocation.ts'
import { Revocations, type RevocationSource } from '../../../shared/auth/revocations.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'

/** A place that keeps a list and may be away or stand still. */
class Source implements RevocationSource {
  readonly name = 'test'
  readonly list: Revocation[] = []
  state: 'here' | 'away' | 'stuck' = 'here'
  reads = 0

  revoke(tokenId: string, expiresMs = Date.now() + 3_600_000): void {
    this.list.push({ tokenId, expiresMs })
  }

  async read(): Promise<readonly Revocation[]> {
    this.reads += 1
    if (this.state === 'stuck') await new Promise(() => undefined)
    if (this.state === 'away') throw new Error('away')
    return [...this.list]
  }
}

let source: Source
let other: Source
let revocations: Revocations

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] })
  source = new Source()
  other = new Source()
  revocations = new Revocations({ sources: [source, other], log: createSilentLogger() })
})

afterEach(() => {
  vi.useRealTimers()
})

const pass = (ms: number) => void vi.advanceTimersByTime(ms)

/** Lets what was begun beside a request end. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('revocations', () => {
  it('waits for a list the first time, then answers at once from it', async () => {
    source.revoke('a')
    expect(await revocations.isRevoked('a')).toBe(true)
    expect(revocations.isRevoked('a')).toBe(true)
    expect(revocations.isRevoked('b')).toBe(false)
    expect(source.reads).toBe(1)
  })

  it('refreshes beside the requests, and never answers from a list that is too old', async () => {
    expect(await revocations.isRevoked('a')).toBe(false)
    source.revoke('a')
    pass(4_000)
    // Old enough to be fetched again, young enough to be used.
    expect(revocations.isRevoked('a')).toBe(false)
    await settle()
    expect(revocations.isRevoked('a')).toBe(true)
    source.revoke('b')
    pass(8_001)
    expect(await revocations.isRevoked('b')).toBe(true)
  })

  it.each(['away', 'stuck'] as const)(
    'goes on with what it knows while one is %s',
    async (state) => {
      source.revoke('a')
      expect(await revocations.isRevoked('a')).toBe(true)
      vi.useRealTimers()
      vi.useFakeTimers({ toFake: ['performance'] })
      source.state = state
      other.revoke('c')
      pass(60_000)
      // The one that notices waits, but not for longer than a source may take.
      expect(await revocations.isRevoked('b')).toBe(false)
      pass(60_000)
      expect(revocations.isRevoked('a')).toBe(true)
      expect(revocations.isRevoked('c')).toBe(true)
      expect(revocations.isRevoked('b')).toBe(false)
      source.state = 'here'
    },
  )

  it('does not forget what a source has lost', async () => {
    source.revoke('a')
    expect(await revocations.isRevoked('a')).toBe(true)
    source.list.length = 0
    pass(9_000)
    expect(await revocations.isRevoked('a')).toBe(true)
  })

  it('forgets a revocation when its token is over', async () => {
    source.revoke('a', Date.now() + 1_000)
    expect(await revocations.isRevoked('a')).toBe(true)
    pass(1_001)
    expect(revocations.isRevoked('a')).toBe(false)
  })
})
