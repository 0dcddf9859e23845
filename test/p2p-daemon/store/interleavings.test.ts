import fc from 'fast-check'
import { describe, it } from 'vitest'

import { live, lives } from './interleavings.ts'

describe('disk-store under any interleaving', () => {
  it('holds what a plain set of blobs would hold', async () => {
    await fc.assert(fc.asyncProperty(lives, live), { numRuns: 15, seed: 20_261_123 })
  }, 60_000)
})
