import { describe, expect, it } from 'vitest'

import { type Acknowledged, checkAcknowledged, killDuringPuts } from './killed.ts'
import { makeTempDir } from './temp-dir.ts'

describe('disk-store killed with SIGKILL', () => {
  it.each([1, 2])(
    'keeps what it acknowledged, life after life, seed %i',
    async (seed) => {
      const dir = await makeTempDir()
      const known: Acknowledged = new Map()
      for (let life = 0; life < 3; life += 1) {
        await killDuringPuts(dir.path, seed * 100 + life, known)
        const checked = await checkAcknowledged(dir.path, known, life === 1)
        expect(checked).toBeGreaterThan(0)
      }
      await dir.remove()
    },
    60_000,
  )
})
