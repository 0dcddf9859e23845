import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it, vi } from 'vitest'

import { KiB, MiB } from '../../shared/limits.ts'
import { createDaemons, type Daemons } from '../helpers/daemons.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient } from './blob-client.ts'
import { LoopDisk, TmpfsMount, whyNoMounts } from './mounts.ts'
import { beginFault, sawReady } from './rounds.ts'

/** Small, so that it is full soon; a bit over the databases of a node. */
const DISK_MIB = 64

/** What somebody else put on the disk and removes again. */
const BALLAST_BYTES = 16 * MiB

/** More puts than fit, whatever their sizes. */
const PUTS_MAX = 5_000

/** The store tries again every two seconds. */
const RECOVERY = { timeout: 60_000, interval: 200 }

const TIMEOUT_MS = 3_600_000

const REFUSED = { status: 503, code: 'BZZZ_STORAGE_UNAVAILABLE' }

interface Status {
  store: { writable: boolean; reason: string | null; blobs: number }
}

async function storeOf(daemons: Daemons): Promise<Status['store']> {
  return ((await daemons.getJSON(`${daemons.urls[0]}/v1/status`)) as Status).store
}

/** Puts until one is refused; resolves with its answer. */
async function fill(known: Acknowledged, client: BlobClient) {
  for (let puts = 0; puts < PUTS_MAX; puts += 1) {
    // Both ways of storing: packed and as files of their own.
    const { answer } = await known.put(client, puts % 4 === 0 ? 1536 * KiB : 40 * KiB)
    if (answer?.status !== 201) return answer
  }
  return undefined
}

describe('a daemon on a disk that takes no more', () => {
  it(
    'refuses puts while full and goes on when there is room',
    { timeout: TIMEOUT_MS },
    async (context) => {
      const missing = await whyNoMounts()
      if (missing) return context.skip(missing)
      const rounds = { short: 1, long: 10 }
      const { row, random } = beginFault(context, { fault: 'ENOSPC during puts', rounds })
      const folder = await mkdtemp(join(tmpdir(), 'bzzz-full-'))
      await using cleanUp = new AsyncDisposableStack()
      cleanUp.defer(() => rm(folder, { recursive: true }))
      let refused = 0
      for (let round = 1; round <= row.rounds; round += 1) {
        await using disk = await TmpfsMount.create(join(folder, `disk${round}`), DISK_MIB)
        const ballast = join(disk.path, 'ballast')
        await writeFile(ballast, Buffer.alloc(BALLAST_BYTES))
        const daemons = await createDaemons(1, { dataDir: () => join(disk.path, 'data') })
        await using __ = { [Symbol.asyncDispose]: () => daemons.stop() }
        const [node] = daemons.nodes
        await node!.start()
        const client = new BlobClient(node!.url, daemons.token)
        const known = new Acknowledged(row, random)

        expect(await fill(known, client)).toMatchObject(REFUSED)
        refused += 1
        expect(await storeOf(daemons)).toMatchObject({
          writable: false,
          reason: 'the disk is full',
          blobs: known.count,
        })
        await known.checkAll(client)

        await rm(ballast)
        await vi.waitFor(
          async () =>
            expect(await storeOf(daemons)).toMatchObject({ writable: true, reason: null }),
          RECOVERY,
        )
        const before = known.count
        for (const size of [10, 40 * KiB, 1536 * KiB]) {
          expect((await known.put(client, size)).answer).toMatchObject({ status: 201 })
        }
        expect(known.count).toBe(before + 3)
        await client.close()
        await node!.kill()
        await node!.start()
        sawReady(row, node!)
        const again = new BlobClient(node!.url, daemons.token)
        await known.checkAll(again)
        await again.close()
        row.note = `${refused} full disks, each refused with 503 and writable again without a restart`
      }
      expect(row).toMatchObject({ lost: 0, wrong: 0 })
    },
  )

  it(
    'reads on and says why when writes fail with EIO',
    { timeout: TIMEOUT_MS },
    async (context) => {
      const missing = await whyNoMounts()
      if (missing) return context.skip(missing)
      const rounds = { short: 1, long: 10 }
      const { row, random } = beginFault(context, { fault: 'EIO during puts', rounds })
      const folder = await mkdtemp(join(tmpdir(), 'bzzz-eio-'))
      await using cleanUp = new AsyncDisposableStack()
      cleanUp.defer(() => rm(folder, { recursive: true }))
      for (let round = 1; round <= row.rounds; round += 1) {
        // The file system believes in a disk of four times what lies below it: its writes fail with
        // EIO from some block on, and what was written before can be read.
        await using below = await TmpfsMount.create(join(folder, `below${round}`), DISK_MIB)
        await using disk = await LoopDisk.create(below.path, 4 * DISK_MIB)
        const daemons = await createDaemons(1, { dataDir: () => join(disk.path, 'data') })
        await using __ = { [Symbol.asyncDispose]: () => daemons.stop() }
        const [node] = daemons.nodes
        await node!.start()
        const client = new BlobClient(node!.url, daemons.token)
        const known = new Acknowledged(row, random)

        expect(await fill(known, client)).toMatchObject(REFUSED)
        const { writable, reason } = await storeOf(daemons)
        expect(writable).toBe(false)
        // A loop device says of some writes that what lies below it is full.
        expect(reason).toMatch(/input\/output error|read-only|full/)
        await known.checkAll(client)
        await client.close()
        row.note = `${round} disks, each refused with 503; last reason: ${reason}`
      }
      expect(row).toMatchObject({ lost: 0, wrong: 0 })
    },
  )
})
