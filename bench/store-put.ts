import { KiB, MiB } from '../shared/limits.ts'
import { type Bar, row, type Row } from './row.ts'
import { type Contender, interleaved, randomBlobs, timed, withTempDir } from './store/contender.ts'
import {
  openBlockstoreFs,
  openCacache,
  openLmdbFlushed,
  openOurs,
  openPlainFiles,
} from './store/contenders.ts'

export const name = 'store-put'

interface Work {
  sizeBytes: number
  label: string
  blobs: number
  inFlight: number
  bars: Record<string, Bar>
}

const ROUNDS = 8

const SMALL: Work[] = [
  {
    sizeBytes: KiB,
    label: '1 KiB, 16 writers',
    blobs: 3000,
    inFlight: 16,
    bars: {
      'lmdb, flushed': { atLeast: 1 },
      'blockstore-fs, not durable': { atLeast: 3 },
      'cacache, not durable': { atLeast: 3 },
    },
  },
  {
    sizeBytes: 64 * KiB,
    label: '64 KiB, 16 writers',
    blobs: 600,
    inFlight: 16,
    bars: { 'lmdb, flushed': { atLeast: 1 } },
  },
]

const LARGE: Work[] = [
  {
    sizeBytes: MiB,
    label: '1 MiB, 16 writers',
    blobs: 64,
    inFlight: 16,
    bars: { 'write + fsync + rename': { atLeast: 0.8 } },
  },
  {
    sizeBytes: 64 * MiB,
    label: '64 MiB, 2 writers',
    blobs: 4,
    inFlight: 2,
    bars: { 'write + fsync + rename': { atLeast: 0.8 } },
  },
]

/** Durable puts: a put counts when its bytes survive a power cut. Two of the peers do not wait. */
export async function run(): Promise<Row[]> {
  const rows: Row[] = []
  const small = [openOurs, openLmdbFlushed, openBlockstoreFs, openCacache]
  for (const work of SMALL) rows.push(...(await measure(work, small)))
  for (const work of LARGE) rows.push(...(await measure(work, [openOurs, openPlainFiles])))
  return rows
}

async function measure(
  work: Work,
  openers: readonly ((dir: string) => Promise<Contender>)[],
): Promise<Row[]> {
  return withTempDir(async (dir) => {
    const contenders = await Promise.all(openers.map((open) => open(dir)))
    // Unique bytes for every round and contender: nothing is deduplicated.
    const rates = await interleaved(contenders, ROUNDS, async (contender) => {
      const blobs = randomBlobs(work.blobs, work.sizeBytes)
      const seconds = await timed(blobs, work.inFlight, (bytes) => contender.put(bytes))
      return work.sizeBytes < MiB
        ? work.blobs / seconds
        : (work.blobs * work.sizeBytes) / MiB / seconds
    })
    for (const contender of contenders) await contender.close()
    const unit = work.sizeBytes < MiB ? 'puts/s' : 'MiB/s'
    const ours = rates.get('bzzz') as number
    return [...rates]
      .filter(([peerName]) => peerName !== 'bzzz')
      .map(([peerName, peer]) => {
        const bar = work.bars[peerName]
        const figures = { work: `durable put, ${work.label}`, beside: peerName, ours, peer, unit }
        return row(bar === undefined ? figures : { ...figures, bar })
      })
  })
}
