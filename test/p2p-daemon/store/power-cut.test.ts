import { describe, expect, it } from 'vitest'

import { livePowerCuts } from './power-cut.ts'
import { makeTempDir } from './temp-dir.ts'

const LIVES = 20

describe('disk-store under power cuts', () => {
  it(`loses nothing acknowledged in ${LIVES} lives`, async () => {
    for (let seed = 1; seed <= LIVES; seed += 1) {
      const dir = await makeTempDir()
      try {
        await livePowerCuts(seed, dir.path)
      } catch (error) {
        expect.fail(`seed ${seed}: ${(error as Error).stack}`)
      } finally {
        await dir.remove()
      }
    }
  })
})
