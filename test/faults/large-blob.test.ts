import { randomBytes } from 'node:crypto'
import { statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { Readable } from 'node:stream'

import { describe, expect, it } from 'vitest'

import { request } from 'undici'

import { createHasher } from '../../shared/blob/hash.ts'
import { GiB, MiB } from '../../shared/limits.ts'
import { createDaemons } from '../helpers/daemons.ts'
import { beginFault, LONG, sleep } from './rounds.ts'

const SIZE_BYTES = LONG ? 10 * GiB : 300 * MiB

/** A goal of the project: a blob passes through, whatever its size. */
const MEMORY_MIB_MAX = 256

/** As a process of 256 MiB is told, which must not size its heap by a larger machine. */
const HEAP = '--max-old-space-size=128 --max-semi-space-size=4'

/** The reader rests after so many bytes: the daemon must not read ahead meanwhile. */
const PAUSE_EVERY_BYTES = 16 * MiB
const PAUSE_MS = 100

const TIMEOUT_MS = 3_600_000

/** Never twice the same block, and no block that compresses. */
async function* blocks(update: (block: Buffer) => void): AsyncGenerator<Buffer> {
  const block = randomBytes(MiB)
  for (let index = 0; index < SIZE_BYTES / MiB; index += 1) {
    // The last one may still wait to be sent, so each is a copy.
    const next = Buffer.from(block)
    next.writeUInt32LE(index, 0)
    update(next)
    yield next
  }
}

describe('a blob larger than the memory of the daemon', () => {
  it(
    'is stored and read as a stream',
    async (context) => {
      if (process.platform !== 'linux') return context.skip('Memory is read from /proc.')
      const { bavail, bsize } = await statfs(tmpdir())
      if (bavail * bsize < 2 * SIZE_BYTES) return context.skip('The disk has too little room.')
      const fault = `${SIZE_BYTES / MiB} MiB through one daemon`
      const { row } = beginFault(context, { fault, rounds: { short: 1, long: 1 } })
      const daemons = await createDaemons(1, {
        env: { BZZZ_PUT_BYTES_MAX: '11GiB', NODE_OPTIONS: HEAP },
      })
      const node = daemons.nodes[0]!
      try {
        // The first start of a release strips types and compiles, which takes memory of its own.
        await node.start()
        await node.stop()
        await node.start()
        const idleMiB = await node.memoryPeakMiB()
        const headers = { authorization: `Bearer ${daemons.token}` }
        const sent = createHasher()
        const putMs = performance.now()
        const put = await request(`${node.url}/v1/blobs`, {
          method: 'PUT',
          headers,
          body: Readable.from(blocks((block) => sent.update(block))),
          headersTimeout: TIMEOUT_MS,
        })
        const { hash } = (await put.body.json()) as { hash: string }
        const putSeconds = (performance.now() - putMs) / 1000
        expect({ status: put.statusCode, hash }).toEqual({ status: 201, hash: sent.digestHex() })
        const putMiB = await node.memoryPeakMiB()

        const got = createHasher()
        let bytes = 0
        let rest = PAUSE_EVERY_BYTES
        const getMs = performance.now()
        const { body } = await request(`${node.url}/v1/blobs/${hash}`, { headers })
        for await (const chunk of body as AsyncIterable<Buffer>) {
          got.update(chunk)
          bytes += chunk.byteLength
          if (bytes < rest) continue
          rest += PAUSE_EVERY_BYTES
          await sleep(PAUSE_MS)
        }
        const getSeconds = (performance.now() - getMs) / 1000
        const getMiB = await node.memoryPeakMiB()
        row.wrong = got.digestHex() === hash ? 0 : 1
        row.lost = bytes === SIZE_BYTES ? 0 : 1
        row.note =
          `memory ${idleMiB.toFixed(0)} MiB idle, ${putMiB.toFixed(0)} MiB after the put of ` +
          `${putSeconds.toFixed(1)} s, ${getMiB.toFixed(0)} MiB after the get of ` +
          `${getSeconds.toFixed(1)} s by a reader that pauses`
        expect(row).toMatchObject({ lost: 0, wrong: 0 })
        expect(getMiB).toBeLessThan(MEMORY_MIB_MAX)
      } finally {
        await daemons.stop()
      }
    },
    TIMEOUT_MS,
  )
})
