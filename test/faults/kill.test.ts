import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { bundleDaemon } from '../helpers/daemon-bundle.ts'
import { createDaemons, type Daemon } from '../helpers/daemons.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient } from './blob-client.ts'
import { beginFault, type FaultRow, LONG, sawReady, sleep } from './rounds.ts'

/** Daemons that live and die beside each other: one starts while the other writes. */
const LANES = LONG ? 8 : 2
const WRITERS = 8

/** A kill comes this long after the first acknowledgement, so that it meets every step of one. */
const PUTS_MS_MIN = 20
const PUTS_MS_MAX = 300

/** After every kill the newest are read, and as many old ones; all of them this often. */
const CHECK_SOME = 30
const CHECK_ALL_EVERY = 40

/** A goal of the project: serving again after a crash, however large the store has grown. */
const READY_MS_MAX = 5_000

const TIMEOUT_MS = 3 * 3_600_000

interface Lane {
  node: Daemon
  token: string
  known: Acknowledged
  row: FaultRow
  random: () => number
}

describe('a daemon killed with SIGKILL', () => {
  it(
    'keeps every blob it acknowledged',
    async (context) => {
      const rounds = { short: 8, long: 1_000 }
      const { row, random } = beginFault(context, { fault: 'kill -9 during puts', rounds })
      const folder = await mkdtemp(join(tmpdir(), 'bzzz-kill-'))
      const main = await bundleDaemon(folder)
      const clusters = await Promise.all(
        Array.from({ length: LANES }, () => createDaemons(1, { main })),
      )
      const lanes = clusters.map(({ nodes, token }): Lane => {
        return { node: nodes[0]!, token, known: new Acknowledged(row, random), row, random }
      })
      const acknowledged = (): number => lanes.reduce((sum, { known }) => sum + known.count, 0)
      let kills = 0
      try {
        await Promise.all(
          lanes.map(async (lane) => {
            for await (const _ of lives(lane, row.rounds / LANES)) {
              kills += 1
              row.note = `${kills} kills, ${acknowledged()} blobs acknowledged`
              if (kills % 50 === 0) console.log(JSON.stringify(row))
            }
          }),
        )
      } finally {
        await Promise.all(clusters.map((daemons) => daemons.stop()))
        await rm(folder, { recursive: true })
      }
      expect(kills).toBe(row.rounds)
      expect(acknowledged()).toBeGreaterThan(kills)
      expect(row).toMatchObject({ lost: 0, wrong: 0 })
      expect(row.readyMsMax).toBeLessThan(READY_MS_MAX)
    },
    TIMEOUT_MS,
  )
})

/** Starts the daemon, kills it during puts, looks at what is left, again and again. */
async function* lives(lane: Lane, count: number): AsyncGenerator<void> {
  const { node, known, random } = lane
  // A clean stop writes the compile cache, which makes the starts to come cheaper.
  await node.start()
  await node.stop()
  let client = await begin(lane)
  for (let round = 1; round <= count; round += 1) {
    const stopping = new AbortController()
    const writing = known.write(client, WRITERS, stopping.signal)
    await known.next()
    await sleep(PUTS_MS_MIN + random() * (PUTS_MS_MAX - PUTS_MS_MIN))
    await node.kill()
    stopping.abort()
    await writing
    await client.close()
    client = await begin(lane)
    await known.checkSome(client, CHECK_SOME, CHECK_SOME)
    if (round % CHECK_ALL_EVERY === 0) await known.checkAll(client)
    yield
  }
  await known.checkAll(client)
  await client.close()
}

async function begin({ node, token, row }: Lane): Promise<BlobClient> {
  await node.start()
  sawReady(row, node)
  return new BlobClient(node.url, token)
}
