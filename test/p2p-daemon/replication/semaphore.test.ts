import { describe, expect, it } from 'vitest'

import { Semaphore } from '../../../p2p-daemon/replication/semaphore.ts'
import { SharedTasks } from '../../../p2p-daemon/replication/shared-tasks.ts'
import { TokenBucket } from '../../../p2p-daemon/replication/token-bucket.ts'

describe('semaphore', () => {
  it('runs as many as it may, lets as many wait, and refuses the rest', async () => {
    const semaphore = new Semaphore({ running: 2, waiting: 1 })
    const gate = Promise.withResolvers<void>()
    let running = 0
    const task = async (): Promise<void> => {
      running += 1
      await gate.promise
    }
    const tasks = [semaphore.run(task), semaphore.run(task), semaphore.run(task)]
    await expect(semaphore.run(task)).rejects.toMatchObject({ code: 'BZZZ_OVERLOADED' })
    expect(running).toBe(2)
    gate.resolve()
    await Promise.all(tasks)
    expect(running).toBe(3)
  })

  it('gives the place of one who left in line to another', async () => {
    const semaphore = new Semaphore({ running: 1, waiting: 1 })
    const gate = Promise.withResolvers<void>()
    const first = semaphore.run(() => gate.promise)
    const leaving = new AbortController()
    const second = semaphore.run(() => Promise.resolve('second'), leaving.signal)
    leaving.abort(new Error('left'))
    await expect(second).rejects.toThrow('left')
    const third = semaphore.run(() => Promise.resolve('third'))
    gate.resolve()
    await first
    expect(await third).toBe('third')
  })
})

describe('shared-tasks', () => {
  it('runs once for all, and again for those who come after', async () => {
    const tasks = new SharedTasks<number>()
    let runs = 0
    const task = async (): Promise<number> => (runs += 1)
    expect(await Promise.all([tasks.run('a', task), tasks.run('a', task)])).toEqual([1, 1])
    expect(await tasks.run('a', task)).toBe(2)
  })

  it('aborts only when the last has left, and starts anew for the next', async () => {
    const tasks = new SharedTasks<string>()
    const signals: AbortSignal[] = []
    const gate = Promise.withResolvers<string>()
    const task = (signal: AbortSignal): Promise<string> => {
      signals.push(signal)
      return gate.promise
    }
    const [one, two] = [new AbortController(), new AbortController()]
    const first = tasks.run('a', task, one.signal)
    const second = tasks.run('a', task, two.signal)
    one.abort(new Error('one left'))
    await expect(first).rejects.toThrow('one left')
    expect(signals[0]!.aborted).toBe(false)
    two.abort(new Error('two left'))
    await expect(second).rejects.toThrow('two left')
    expect(signals[0]!.aborted).toBe(true)
    const third = tasks.run('a', task)
    gate.resolve('done')
    expect(await third).toBe('done')
    expect(signals).toHaveLength(2)
  })
})

describe('token-bucket', () => {
  it('lets a bucketful pass at once and then keeps to the rate', async () => {
    const bucket = new TokenBucket({ bytesPerSecond: 10_000 })
    const startedMs = performance.now()
    await bucket.take(10_000)
    await bucket.take(1_000)
    const burstMs = performance.now() - startedMs
    await bucket.take(1_000)
    await bucket.take(1_000)
    expect(performance.now() - startedMs - burstMs).toBeGreaterThan(100)
  })

  it('lets go of one who waits when he leaves, and the next in', async () => {
    const bucket = new TokenBucket({ bytesPerSecond: 100 })
    await bucket.take(110)
    const leaving = new AbortController()
    const waiting = bucket.take(1_000_000, leaving.signal)
    leaving.abort(new Error('left'))
    await expect(waiting).rejects.toThrow()
    await bucket.take(1)
  })
})
