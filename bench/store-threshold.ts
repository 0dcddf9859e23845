import { KiB, MiB } from '../shared/limits.ts'
import { row, type Row } from './row.ts'
import { type Contender, interleaved, randomBlobs, timed, withTempDir } from './store/contender.ts'
import { openOurs } from './store/contenders.ts'

export const name = 'store-threshold'

const SIZES = [64 * KiB, 128 * KiB, 256 * KiB, 512 * KiB, MiB]

/** Bytes put by each in one round. */
const ROUND_BYTES = 48 * MiB

const ROUNDS = 6

/**
 * Where a blob is better off in a pack segment, and where in a file of its own: the answer is the
 * constant PACK_BLOB_BYTES_MAX. Both ways through the same store, only the threshold differs.
 */
export async function run(): Promise<Row[]> {
  const rows: Row[] = []
  for (const sizeBytes of SIZES) rows.push(...(await measure(sizeBytes)))
  return rows
}

async function measure(sizeBytes: number): Promise<Row[]> {
  return withTempDir(async (dir) => {
    const packed = await openOurs(dir, { name: 'packed', packBlobBytesMax: MiB })
    const loose = await openOurs(dir, { name: 'loose', packBlobBytesMax: 0 })
    const contenders = [packed, loose]
    const keys = new Map<Contender, string[]>(contenders.map((contender) => [contender, []]))
    const count = Math.round(ROUND_BYTES / sizeBytes)
    const puts = await interleaved(contenders, ROUNDS, async (contender) => {
      const stored = keys.get(contender) as string[]
      const seconds = await timed(randomBlobs(count, sizeBytes), 16, async (bytes) =>
        stored.push(await contender.put(bytes)),
      )
      return ROUND_BYTES / MiB / seconds
    })
    const gets = await interleaved(contenders, ROUNDS, async (contender) => {
      const order = (keys.get(contender) as string[]).slice(0, count)
      return ROUND_BYTES / MiB / (await timed(order, 16, (key) => contender.get(key)))
    })
    for (const contender of contenders) await contender.close()
    const work = `${sizeBytes / KiB} KiB in a pack, 16 at a time`
    return [compared(`durable put, ${work}`, puts), compared(`verified get, ${work}`, gets)]
  })
}

function compared(work: string, rates: ReadonlyMap<string, number>): Row {
  const ours = rates.get('packed') as number
  const peer = rates.get('loose') as number
  return row({ work, beside: 'in a file of its own', ours, peer, unit: 'MiB/s' })
}
