import { describe, expect, it } from 'vitest'

import { simulate } from '../../bench/dht-hops/simulation.ts'

describe('lookups in the table', () => {
  it('find the nearest node in steps that grow as the logarithm of the nodes', async () => {
    const sizes = [32, 256, 2_048]
    const results = []
    for (const size of sizes) results.push(await simulate(size, 4))
    for (const { nodes, hops, asked, found } of results) {
      expect(found).toBe(1)
      expect(hops).toBeLessThanOrEqual(Math.log2(nodes))
      expect(asked).toBeLessThan(100)
    }
    // Eight times the nodes is three steps more, not eight times as many.
    const [small, , large] = results
    expect(large!.hops - small!.hops).toBeLessThanOrEqual(6)
  })
})
