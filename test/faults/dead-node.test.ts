import { describe, expect, it } from 'vitest'

import { createDaemons, type Daemon, type Daemons } from '../helpers/daemons.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient } from './blob-client.ts'
import { waitUntilConverged } from './cluster-status.ts'
import { beginFault, sawReady } from './rounds.ts'

/** Puts while all live, and while one is dead, by each of the nodes that are left. */
const PUTS = 20

const TIMEOUT_MS = 3_600_000

/** Every node takes its puts at the same time; resolves to how many were not acknowledged. */
async function putOn(nodes: readonly Daemon[], { token }: Daemons, known: Acknowledged) {
  const refused = await Promise.all(
    nodes.map(async ({ url }) => {
      const client = new BlobClient(url, token)
      let count = 0
      for (let puts = 0; puts < PUTS; puts += 1) {
        const { answer } = await known.put(client)
        if (!answer || answer.status >= 300 || answer.replicas.length < 2) {
          console.log(`a put was answered with ${JSON.stringify(answer)}`)
          count += 1
        }
      }
      await client.close()
      return count
    }),
  )
  return refused.reduce((sum, count) => sum + count, 0)
}

async function readOn({ url }: Daemon, { token }: Daemons, known: Acknowledged): Promise<void> {
  const client = new BlobClient(url, token)
  await known.checkAll(client)
  await client.close()
}

describe('three nodes of which one is dead', () => {
  it(
    'go on, and are whole again when it is back',
    async (context) => {
      const rounds = { short: 1, long: 9 }
      const { row, random } = beginFault(context, { fault: 'one of three nodes dead', rounds })
      const daemons = await createDaemons(3)
      try {
        await daemons.start()
        const known = new Acknowledged(row, random)
        expect(await putOn(daemons.nodes, daemons, known)).toBe(0)
        let refused = 0
        let slowestMs = 0
        for (let round = 1; round <= row.rounds; round += 1) {
          const dead = daemons.nodes[round % 3]!
          const living = daemons.nodes.filter((node) => node !== dead)
          await dead.kill()
          // At once: nobody has noticed yet that a node is missing.
          refused += await putOn(living, daemons, known)
          for (const node of living) await readOn(node, daemons, known)
          refused += await putOn(living, daemons, known)

          await dead.start()
          sawReady(row, dead)
          const sinceMs = performance.now()
          await waitUntilConverged(daemons, known.count)
          slowestMs = Math.max(slowestMs, performance.now() - sinceMs)
          await readOn(dead, daemons, known)
          row.note =
            `${known.count} blobs, ${refused} puts refused, ` +
            `every blob on 3 nodes at most ${Math.round(slowestMs)} ms after the return`
          console.log(JSON.stringify(row))
        }
        expect(refused).toBe(0)
        expect(row).toMatchObject({ lost: 0, wrong: 0 })
      } finally {
        await daemons.stop()
      }
    },
    TIMEOUT_MS,
  )
})
