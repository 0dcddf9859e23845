import { describe, expect, it } from 'vitest'

import { createDaemons, type Daemon, type Daemons } from '../helpers/daemons.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient, type Read } from './blob-client.ts'
import { scrub, waitUntilConverged } from './cluster-status.ts'
import { DiskOfNode, type Place } from './damage.ts'
import { beginFault, LONG, sawReady } from './rounds.ts'

const BLOBS = LONG ? 400 : 120

/** Blobs spoilt at a time: half of them are read before the scrub comes. */
const DAMAGED = LONG ? 100 : 30

/** Every so many rounds the end of a segment is cut off as well. */
const CUT_SEGMENT_EVERY = 2
const CUT_BYTES_MAX = 200_000

const TIMEOUT_MS = 3_600_000

interface Bed {
  daemons: Daemons
  node: Daemon
  disk: DiskOfNode
  known: Acknowledged
  random: () => number
}

/** Some of the places, each once. */
function pick(places: Iterable<Place>, count: number, random: () => number): Place[] {
  const left = [...places].filter(({ sizeBytes }) => sizeBytes > 0)
  const picked: Place[] = []
  while (picked.length < count && left.length > 0) {
    picked.push(...left.splice(Math.floor(random() * left.length), 1))
  }
  return picked
}

/** Spoils blobs and the end of a segment; resolves to the hashes that are bad now. */
async function spoil({ disk, known, random }: Bed, cutSegment: boolean): Promise<Set<string>> {
  const places = await disk.find(known.hashes)
  const bad = new Set<string>()
  for (const place of pick(places.values(), DAMAGED, random)) {
    if (place.packed || random() < 0.5) await disk.flipBit(place, random)
    else await disk.cutFile(place, random)
    bad.add(place.hash)
  }
  if (!cutSegment) return bad
  const segments = await disk.segments()
  const path = segments[Math.floor(random() * segments.length)]!
  const ends = [...places.values()]
    .filter((place) => place.path === path)
    .map(({ position, sizeBytes }) => position + sizeBytes)
  const end = Math.max(0, ...ends) - 1 - Math.floor(random() * CUT_BYTES_MAX)
  const fallen = await disk.cutSegment(path, places.values(), Math.max(end, 4096))
  for (const hash of fallen) bad.add(hash)
  return bad
}

/** Reads half of them through the node: what is bad there comes from another one. */
async function readHalf({ daemons, node }: Bed, bad: Set<string>): Promise<Read[]> {
  const client = new BlobClient(node.url, daemons.token)
  const reads: Read[] = []
  for (const [index, hash] of [...bad].entries()) {
    if (index % 2 === 0) reads.push(await client.read(hash))
  }
  await client.close()
  return reads
}

/** How many of the copies on the disk of the node still are bad or missing. */
async function stillBad({ disk }: Bed, bad: Set<string>): Promise<string[]> {
  const places = await disk.find([...bad])
  const left: string[] = []
  for (const hash of bad) {
    const place = places.get(hash)
    if (!place || !(await disk.isGood(place))) left.push(hash)
  }
  return left
}

describe('three nodes of which one has a bad disk', () => {
  it(
    'finds every bad copy, serves none, and makes all of them good',
    async (context) => {
      const rounds = { short: 2, long: 10 }
      const { row, random } = beginFault(context, { fault: 'bit flips and truncations', rounds })
      const daemons = await createDaemons(3, {
        env: { BZZZ_SCRUB_BYTES_PER_SECOND: '1GiB', BZZZ_SCRUB_IO_SHARE: '1' },
      })
      let [damaged, quarantined] = [0, 0]
      try {
        await daemons.start()
        const known = new Acknowledged(row, random)
        const first = new BlobClient(daemons.urls[1]!, daemons.token)
        while (known.count < BLOBS) await known.put(first, undefined, 'all')
        await first.close()
        await waitUntilConverged(daemons, known.count)

        for (let round = 1; round <= row.rounds; round += 1) {
          const node = daemons.nodes[round % 3]!
          const bed = { daemons, node, disk: new DiskOfNode(node.dataDir), known, random }
          const whileStopped = round % 2 === 0
          if (whileStopped) await node.stop()
          const bad = await spoil(bed, Math.ceil(round / 2) % CUT_SEGMENT_EVERY === 0)
          if (whileStopped) {
            await node.start()
            sawReady(row, node)
            await daemons.meshed()
          }
          const reads = await readHalf(bed, bad)
          row.wrong += reads.filter((read) => read === 'wrong').length
          row.lost += reads.filter((read) => read !== 'wrong' && read !== 'good').length
          expect(reads.filter((read) => read !== 'good')).toEqual([])
          expect(await scrub(daemons, node)).toMatchObject({ failed: 0 })
          await waitUntilConverged(daemons, known.count)

          const found = await bed.disk.quarantined()
          expect(await stillBad(bed, bad)).toEqual([])
          damaged += bad.size
          quarantined += [...bad].filter((hash) => found.has(hash)).length
          row.note = `${damaged} copies spoilt, ${quarantined} set aside, all good again on disk`
          console.log(JSON.stringify(row))
        }
        for (const { url } of daemons.nodes) {
          const client = new BlobClient(url, daemons.token)
          await known.checkAll(client)
          await client.close()
        }
        expect(damaged).toBeGreaterThanOrEqual(row.rounds * DAMAGED)
        expect(row).toMatchObject({ lost: 0, wrong: 0 })
      } finally {
        await daemons.stop()
      }
    },
    TIMEOUT_MS,
  )
})
