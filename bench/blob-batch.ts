import { randomBytes } from 'node:crypto'

import { DaemonClient } from '../shared/daemon/daemon-client.ts'
import { startDaemons } from '../test/helpers/daemons.ts'
import { row, type Row } from './row.ts'

export const name = 'blob-batch'

/** What a message or a call of a model is stored as. */
const BLOB_BYTES = 300

const BATCH = 64
const BATCHES_AT_ONCE = 4
const SINGLES_AT_ONCE = 16

/** Long enough that the start of it does not count. */
const SECONDS = 5

/** Small blobs a second on the disks of a quorum, over HTTP: together beside one by one. */
export async function run(): Promise<Row[]> {
  return [await measure(1), await measure(3)]
}

async function measure(nodes: number): Promise<Row> {
  const daemons = await startDaemons(nodes)
  const client = new DaemonClient({ endpoints: daemons.urls })
  const { token } = daemons
  const blobs = (count: number) => Array.from({ length: count }, () => randomBytes(BLOB_BYTES))
  const batch = () => client.putBlobs(blobs(BATCH), { token })
  const single = () => client.putBlob(once(randomBytes(BLOB_BYTES)), { token })
  try {
    const ours = BATCH * (await rate(BATCHES_AT_ONCE, batch))
    const peer = await rate(SINGLES_AT_ONCE, single)
    const where = nodes === 1 ? 'one node' : `a quorum of ${nodes} nodes`
    return row({
      work: `put blobs of ${BLOB_BYTES} bytes on ${where}, ${BATCHES_AT_ONCE} batches of ${BATCH}`,
      beside: `each put by itself, ${SINGLES_AT_ONCE} at a time`,
      ...{ ours, peer, unit: 'blobs/s' },
    })
  } finally {
    await client.close()
    await daemons.stop()
  }
}

async function rate(atOnce: number, work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now()
  let done = 0
  const writer = async (): Promise<void> => {
    while (performance.now() - startedMs < SECONDS * 1000) {
      await work()
      done += 1
    }
  }
  await Promise.all(Array.from({ length: atOnce }, writer))
  return done / ((performance.now() - startedMs) / 1000)
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
