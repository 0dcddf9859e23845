import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { startChild } from '../helpers/child.ts'
import { createDaemons } from '../helpers/daemons.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient } from './blob-client.ts'
import { scrub, statusOf } from './cluster-status.ts'
import { beginFault, LONG, sawReady } from './rounds.ts'
import type { StoreChildReport } from './store-child.ts'

const STORE_CHILD = new URL('store-child.ts', import.meta.url)

/** Put over HTTP, between the fill and the kill. */
const HTTP_PUTS = 200

/** Goals of the project for a node with a million blobs. */
const READY_MS_MAX = 10_000
const MEMORY_MIB_MAX = 400

/** As a process of 400 MiB is told, which must not size its heap by a larger machine. */
const HEAP = '--max-old-space-size=192 --max-semi-space-size=8'

const TIMEOUT_MS = 3_600_000

async function runStore(...args: string[]): Promise<StoreChildReport> {
  const { ready } = await startChild<StoreChildReport>(STORE_CHILD, { args, readyMs: TIMEOUT_MS })
  return ready
}

describe('a daemon with very many small blobs', () => {
  it(
    'starts, lists and scrubs in little memory',
    async (context) => {
      if (process.platform !== 'linux') return context.skip('Memory is read from /proc.')
      const count = LONG ? 1_000_000 : 20_000
      const fault = `kill -9 with ${count.toLocaleString('en')} blobs`
      const { row, random } = beginFault(context, { fault, rounds: { short: 1, long: 1 } })
      const folder = await mkdtemp(join(tmpdir(), 'bzzz-many-'))
      await using cleanUp = new AsyncDisposableStack()
      cleanUp.defer(() => rm(folder, { recursive: true }))
      const dataDir = join(folder, 'data')
      const filled = await runStore('fill', dataDir, String(count))
      expect(filled.blobs).toBe(count)

      const daemons = await createDaemons(1, {
        dataDir: () => dataDir,
        env: {
          BZZZ_SCRUB_BYTES_PER_SECOND: '1GiB',
          BZZZ_SCRUB_IO_SHARE: '1',
          NODE_OPTIONS: HEAP,
        },
      })
      cleanUp.defer(() => daemons.stop())
      const node = daemons.nodes[0]!
      await node.start()
      sawReady(row, node)
      const known = new Acknowledged(row, random)
      const before = new BlobClient(node.url, daemons.token)
      for (let puts = 0; puts < HTTP_PUTS; puts += 1) await known.put(before, 100 + puts)
      expect(known.count).toBe(HTTP_PUTS)
      await before.close()
      await node.kill()
      await node.start()
      sawReady(row, node)
      const after = new BlobClient(node.url, daemons.token)
      await known.checkAll(after)
      await after.close()
      expect((await statusOf(daemons, node)).store.blobs).toBe(count + HTTP_PUTS)

      const sinceMs = performance.now()
      const pass = await scrub(daemons, node)
      const scrubSeconds = (performance.now() - sinceMs) / 1000
      const memoryMiB = await node.memoryPeakMiB()
      await node.stop()
      const listed = await runStore('list', dataDir)
      row.note =
        `${(count / filled.seconds).toFixed(0)} puts/s into the store, ` +
        `scrub ${scrubSeconds.toFixed(1)} s, list ${listed.seconds.toFixed(1)} s, ` +
        `memory: daemon ${memoryMiB.toFixed(0)} MiB, ` +
        `store while filled ${filled.memoryPeakMiB.toFixed(0)} MiB, ` +
        `while listed ${listed.memoryPeakMiB.toFixed(0)} MiB`

      expect(pass).toMatchObject({ checked: count + HTTP_PUTS, bad: 0, failed: 0 })
      expect(listed.blobs).toBe(count + HTTP_PUTS)
      expect(row).toMatchObject({ lost: 0, wrong: 0 })
      expect(row.readyMsMax).toBeLessThan(READY_MS_MAX)
      expect(memoryMiB).toBeLessThan(MEMORY_MIB_MAX)
    },
    TIMEOUT_MS,
  )
})
