import { describe, expect, it } from 'vitest'

import { DropGuard } from '../../../p2p-daemon/replication/drop-guard.ts'
import { until } from '../../helpers/mesh.ts'

const HASH = 'a'.repeat(64)

describe('drop-guard', () => {
  it('keeps what it promised for as long as it promised', async () => {
    const guard = new DropGuard({ promiseMs: 300 })
    await until(() => guard.keptForMs(HASH) === 0, 'the quiet after the start to end')
    expect(guard.promise(HASH)).toBe(true)
    expect(guard.keptForMs(HASH)).toBeGreaterThan(0)
    await until(() => guard.keptForMs(HASH) === 0, 'the promise to end')
  })

  it('promises nothing while it drops', async () => {
    const guard = new DropGuard()
    const during = await guard.drop(HASH, async () => guard.promise(HASH))
    expect(during).toBe(false)
    expect(guard.promise(HASH)).toBe(true)
  })

  it('promises again after a drop that failed', async () => {
    const guard = new DropGuard()
    await expect(guard.drop(HASH, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(guard.promise(HASH)).toBe(true)
  })

  it('drops nothing after a start until the promises of the last run are over', async () => {
    const guard = new DropGuard({ promiseMs: 300 })
    expect(guard.keptForMs(HASH)).toBeGreaterThan(0)
    await until(() => guard.keptForMs(HASH) === 0, 'the quiet to end')
  })
})
