import { createReadStream } from 'node:fs'
import { hash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { checkRecords, LogChecker } from '../shared/v1/log-checker.ts'
import { readLogFile } from '../shared/v1/log-file.ts'
import { MiB } from '../shared/limits.ts'
import { writeV1Log } from '../test/helpers/v1-log.ts'
import { row, type Row } from './row.ts'

export const name = 'v1-verify'

const ENTRIES = 1_000_000
/** What one core must do at least, and how much memory it may take whatever the length. */
const RATE_BAR = 80_000
const MEMORY_MIB_BAR = 256

/** Verification of a log of v1 under both rules, on one core, and the memory it takes. */
export async function run(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-v1-'))
  const path = join(dir, 'log.ndjson')
  try {
    await writeV1Log(path, { entries: ENTRIES })
    const { rate, memoryMiB } = await ours(path)
    const plain = await reference(path)
    const work = `verify ${ENTRIES.toLocaleString('en')} entries of v1, both rules, one core`
    return [
      row({
        work,
        beside: 'the bar',
        ours: rate,
        peer: RATE_BAR,
        unit: 'entries/s',
        bar: { atLeast: 1 },
      }),
      row({
        work,
        beside: 'lines, JSON.parse and v1’s own rule only',
        ours: rate,
        peer: plain,
        unit: 'entries/s',
      }),
      row({
        work: `most memory of the process during that`,
        beside: 'the bar',
        ours: memoryMiB,
        peer: MEMORY_MIB_BAR,
        unit: 'MiB',
        bar: { atMost: 1 },
      }),
    ]
  } finally {
    await rm(dir, { recursive: true })
  }
}

async function ours(path: string): Promise<{ rate: number; memoryMiB: number }> {
  const checker = new LogChecker()
  const startedAt = performance.now()
  let memory = 0
  for await (const _batch of checkRecords(
    readLogFile(path, new AbortController().signal),
    checker,
  )) {
    memory = Math.max(memory, process.memoryUsage.rss())
  }
  const [chain] = checker.chains
  if (chain?.strict.goodEntries !== ENTRIES) throw new Error('The log does not hold.')
  return { rate: rateSince(startedAt), memoryMiB: memory / MiB }
}

/** What one would write first. It holds no more than the present line either. */
async function reference(path: string): Promise<number> {
  const startedAt = performance.now()
  let previous = ''
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const { hash: own, prev_hash: link } = JSON.parse(line) as { hash: string; prev_hash: string }
    const end = line.lastIndexOf(',"hash":"')
    const text = `${line.slice(0, end)},"hash":"","prev_hash":"${link}","signature":""}`
    if (link !== previous || hash('sha256', text) !== own) throw new Error('It does not hold.')
    previous = own
  }
  return rateSince(startedAt)
}

function rateSince(startedAt: number): number {
  return ENTRIES / ((performance.now() - startedAt) / 1000)
}
