import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { cutCompaction } from '../p2p-daemon/store/compaction-cut.ts'
import { live, lives } from '../p2p-daemon/store/interleavings.ts'
import { type Acknowledged, checkAcknowledged, killDuringPuts } from '../p2p-daemon/store/killed.ts'
import { livePowerCuts } from '../p2p-daemon/store/power-cut.ts'
import { makeTempDir } from '../p2p-daemon/store/temp-dir.ts'

const LONG = process.env['BZZZ_FAULTS'] === 'long'

/** Where the seeds begin; another number looks at other lives. */
const SEED = Number(process.env['BZZZ_FAULTS_SEED'] ?? 1000)

describe('disk-store, many lives', () => {
  it('loses nothing acknowledged to power cuts', async () => {
    for (let seed = SEED; seed < SEED + (LONG ? 500 : 5); seed += 1) {
      const dir = await makeTempDir()
      await livePowerCuts(seed, dir.path).catch((error: unknown) => {
        throw new Error(`seed ${seed}`, { cause: error })
      })
      await dir.remove()
    }
  })

  it('loses nothing acknowledged to SIGKILL', async () => {
    const dir = await makeTempDir()
    const known: Acknowledged = new Map()
    for (let seed = SEED; seed < SEED + (LONG ? 60 : 2); seed += 1) {
      await killDuringPuts(dir.path, seed, known)
      await checkAcknowledged(dir.path, known, seed % 7 === 0)
    }
    await dir.remove()
  })

  it('holds what a plain set would hold, whatever happens at once', async () => {
    const numRuns = LONG ? 400 : 5
    await fc.assert(fc.asyncProperty(lives, live), { numRuns, seed: SEED })
  })

  it('loses nothing when a compaction is cut at any step', async () => {
    let ended = false
    for (let step = 0; !ended; step += LONG ? 1 : 30) {
      ended = await cutCompaction(step, step % 2 === 0)
      expect(step).toBeLessThan(1000)
    }
  })
})
