import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { collect } from '../../suites/blob-store.ts'
import { blobOf, seeded } from './random.ts'

const CHILD = fileURLToPath(new URL('killed-child.ts', import.meta.url))

/** What the children acknowledged: id -> size, and whether it is there, gone, or either. */
export type Acknowledged = Map<string, { size: number; state: 'stored' | 'deleting' | 'gone' }>

/** Runs a child on the folder and kills it after some of its answers, at a random moment. */
export async function killDuringPuts(
  dataDir: string,
  seed: number,
  known: Acknowledged,
): Promise<void> {
  const random = seeded(seed)
  const child = spawn(process.execPath, [CHILD, dataDir, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const answers = 5 + Math.floor(random() * 400)
  let text = ''
  let count = 0
  for await (const piece of child.stdout) {
    text += piece
    count += String(piece).split('\n').length - 1
    if (count >= answers) child.kill('SIGKILL')
  }
  if (count < answers) throw new Error(`the child of seed ${seed} ended by itself`)
  for (const line of text.split('\n').slice(0, -1)) {
    const [kind, id, size] = line.split(' ') as [string, string, string]
    const state = kind === 'p' ? 'stored' : kind === 's' ? 'deleting' : 'gone'
    known.set(id, { size: Number(size), state })
  }
}

/** Opens the store as the next process would, and reads everything that was acknowledged. */
export async function checkAcknowledged(
  dataDir: string,
  known: Acknowledged,
  withoutIndex: boolean,
): Promise<number> {
  if (withoutIndex) await rm(`${dataDir}/blobs/index`, { recursive: true })
  const store = new DiskStore({}, { dataDir, segmentBytesMax: 1_000_000 })
  await store.start()
  try {
    for (const [id, { size, state }] of known) {
      const bytes = blobOf(Number(id), size)
      const hash = hashBytes(bytes)
      const found = (await store.stat(hash)) !== undefined
      if (state === 'gone' && found) throw new Error(`blob ${id} was deleted and is back`)
      if (state !== 'stored' && !found) continue
      const read = await collect((await store.get(hash)).body)
      if (!read.equals(bytes)) throw new Error(`blob ${id} has other bytes`)
    }
    for await (const { hash } of store.list()) {
      if (!(await store.verify(hash))) throw new Error(`blob ${hash} is listed and damaged`)
    }
    return known.size
  } finally {
    await store.stop()
  }
}
