import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { createDaemons } from '../helpers/daemons.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient } from './blob-client.ts'
import { LoopDisk, whyNoMounts } from './mounts.ts'
import { beginFault, sawReady, sleep } from './rounds.ts'

const WRITERS = 8

/** The cut comes this long after the first acknowledgement of a life. */
const PUTS_MS_MIN = 50
const PUTS_MS_MAX = 800

/** Far more than all blobs of the long run. */
const DISK_MIB = 8 * 1024

const TIMEOUT_MS = 3_600_000

describe('a daemon whose machine loses its power', () => {
  it(
    'keeps every blob it acknowledged',
    async (context) => {
      const missing = await whyNoMounts()
      if (missing) return context.skip(missing)
      const rounds = { short: 3, long: 50 }
      const { row, random } = beginFault(context, { fault: 'power cut during puts', rounds })
      const folder = await mkdtemp(join(tmpdir(), 'bzzz-power-'))
      await using cleanUp = new AsyncDisposableStack()
      cleanUp.defer(() => rm(folder, { recursive: true }))
      const disk = cleanUp.use(await LoopDisk.create(folder, DISK_MIB))
      const daemons = await createDaemons(1, { dataDir: () => join(disk.path, 'data') })
      cleanUp.defer(() => daemons.stop())
      const node = daemons.nodes[0]!
      const known = new Acknowledged(row, random)
      await node.start()
      let client = new BlobClient(node.url, daemons.token)
      for (let round = 1; round <= row.rounds; round += 1) {
        const stopping = new AbortController()
        const writing = known.write(client, WRITERS, stopping.signal)
        await known.next()
        await sleep(PUTS_MS_MIN + random() * (PUTS_MS_MAX - PUTS_MS_MIN))
        // Puts go on while the disk goes away. Linux answers some syncs that run during the ioctl
        // with success and loses them (10 of 60 cuts under a plain loop of write and fdatasync on
        // Linux 6.18, none that ended before it), which no power cut does: the machine is off.
        known.trusting = false
        await disk.cut()
        await node.kill()
        stopping.abort()
        await writing
        known.trusting = true
        await client.close()
        await disk.unmount()
        await disk.mount()
        await node.start()
        sawReady(row, node)
        client = new BlobClient(node.url, daemons.token)
        await known.checkAll(client)
        row.note = `${round} cuts, ${known.count} blobs acknowledged`
        if (round % 10 === 0) console.log(JSON.stringify(row))
      }
      await client.close()
      expect(known.count).toBeGreaterThan(row.rounds)
      expect(row).toMatchObject({ lost: 0, wrong: 0 })
    },
    TIMEOUT_MS,
  )
})
