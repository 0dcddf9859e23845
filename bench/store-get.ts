import { KiB, MiB } from '../shared/limits.ts'
import { row, type Row } from './row.ts'
import { type Contender, interleaved, randomBlobs, timed, withTempDir } from './store/contender.ts'
import { openLmdbFlushed, openOurs, openPlainFiles } from './store/contenders.ts'

export const name = 'store-get'

interface Work {
  sizeBytes: number
  label: string
  blobs: number
  /** Gets of one round; the blobs are read several times where they are few. */
  gets: number
  inFlight: number
}

const ROUNDS = 16

/** The page cache holds them all: the disk is not what is measured. */
const WORKS: Work[] = [
  { sizeBytes: 64 * KiB, label: '64 KiB, 16 readers', blobs: 1000, gets: 1500, inFlight: 16 },
  { sizeBytes: MiB, label: '1 MiB, 16 readers', blobs: 100, gets: 200, inFlight: 16 },
  { sizeBytes: 64 * MiB, label: '64 MiB, 2 readers', blobs: 4, gets: 6, inFlight: 2 },
]

/** Verified gets beside readFile, which checks nothing. */
export async function run(): Promise<Row[]> {
  const rows: Row[] = []
  for (const work of WORKS) rows.push(await measure(work, openPlainFiles, { atLeast: 0.7 }))
  const small = {
    sizeBytes: KiB,
    label: '1 KiB, 16 readers',
    blobs: 4000,
    gets: 4000,
    inFlight: 16,
  }
  rows.push(await measure(small, openLmdbFlushed))
  return rows
}

async function measure(
  work: Work,
  openPeer: (dir: string) => Promise<Contender>,
  bar?: { atLeast: number },
): Promise<Row> {
  return withTempDir(async (dir) => {
    const contenders = [await openOurs(dir), await openPeer(dir)]
    const blobs = randomBlobs(work.blobs, work.sizeBytes)
    const keys = new Map<Contender, string[]>()
    for (const contender of contenders) {
      const stored: string[] = []
      await timed(blobs, 16, async (bytes) => stored.push(await contender.put(bytes)))
      keys.set(contender, stored)
    }
    blobs.length = 0
    const rates = await interleaved(contenders, ROUNDS, async (contender) => {
      const stored = keys.get(contender) as string[]
      // A step that has no divisor in common with the count visits all in a scrambled order.
      const order = Array.from(
        { length: work.gets },
        (_, at) => stored[(at * 7919) % stored.length],
      )
      const seconds = await timed(order as string[], work.inFlight, async (key) => {
        if ((await contender.get(key)) !== work.sizeBytes) throw new Error('short read')
      })
      return (work.gets * work.sizeBytes) / MiB / seconds
    })
    for (const contender of contenders) await contender.close()
    const [ours, peer] = [...rates.values()] as [number, number]
    const beside = bar === undefined ? 'lmdb, hash checked' : 'readFile, unchecked'
    const figures = { work: `verified get, ${work.label}`, beside, ours, peer, unit: 'MiB/s' }
    return row(bar === undefined ? figures : { ...figures, bar })
  })
}
