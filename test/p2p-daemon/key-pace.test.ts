import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { KeyPace } from '../../p2p-daemon/key-pace.ts'

const REST_MS = 100
let ran: string[]
let pace: KeyPace

beforeEach(() => {
  vi.useFakeTimers()
  ran = []
  pace = new KeyPace({ restMs: REST_MS, keysMax: 2, run: (key) => ran.push(key) })
})

afterEach(() => {
  vi.useRealTimers()
})

describe('key-pace', () => {
  it('runs at once, and what is called while a key rests once after it', () => {
    for (let n = 0; n < 5; n += 1) pace.call('a')
    pace.call('b')
    expect(ran).toEqual(['a', 'b'])
    vi.advanceTimersByTime(REST_MS)
    expect(ran).toEqual(['a', 'b', 'a'])
    pace.call('a')
    expect(ran).toHaveLength(3)
    vi.advanceTimersByTime(REST_MS)
    expect(ran).toEqual(['a', 'b', 'a', 'a'])
  })

  it('forgets a key that was not called again', () => {
    pace.call('a')
    vi.advanceTimersByTime(REST_MS)
    expect(vi.getTimerCount()).toBe(0)
    pace.call('a')
    expect(ran).toEqual(['a', 'a'])
  })

  it('runs who waits when it is flushed, and nobody later', () => {
    pace.call('a')
    pace.call('b')
    pace.call('a')
    pace.flush()
    expect(ran).toEqual(['a', 'b', 'a'])
    vi.advanceTimersByTime(10 * REST_MS)
    expect(ran).toHaveLength(3)
  })

  it('keeps no more keys than it may, and runs the others whenever they are called', () => {
    for (const key of ['a', 'b', 'c', 'c']) pace.call(key)
    expect(ran).toEqual(['a', 'b', 'c', 'c'])
    expect(vi.getTimerCount()).toBe(2)
  })
})
