import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { runCLI, startCluster } from '../test/helpers/cluster.ts'
import { writeV1Log } from '../test/helpers/v1-log.ts'
import { row, type Bar, type Row } from './row.ts'

export const name = 'v1-import'

/** Whatever the length, an issue has a hundred entries, and is a thread. */
const ENTRIES_PER_ISSUE = 100

/** A shorter log shows how fast Node starts and warms up. */
const ENTRIES = 60_000
/** Three nodes on one machine write everything three times, so nothing is promised of them. */
const ENTRIES_OF_THREE = 20_000

/** What a whole import is to do at least, embedded on two cores. */
const RATE_BAR = 3_000

/** A whole import into `bzzz up`: stored, in threads, read back and verified, reported. */
export async function run(): Promise<Row[]> {
  const rows = [await measure(1, ENTRIES, { bar: { atLeast: 1 } })]
  return [...rows, await measure(3, ENTRIES_OF_THREE, {})]
}

async function measure(nodes: number, entries: number, bar: { bar?: Bar }): Promise<Row> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-import-'))
  const log = join(dir, 'log.ndjson')
  await writeV1Log(log, { entries, issues: entries / ENTRIES_PER_ISSUE })
  const cluster = await startCluster({ nodes })
  try {
    const startedAt = performance.now()
    const args = ['migrate', 'v1', 'run', log, '--data', cluster.dataDir, '--json']
    const { exitCode, stdout, stderr } = await runCLI(args)
    if (exitCode !== 0) throw new Error(stderr)
    const done = JSON.parse(stdout) as { entries: { verified: number } }
    if (done.entries.verified !== entries) throw new Error('Not all was verified.')
    return row({
      work: `import ${entries.toLocaleString('en')} entries of v1 into ${nodes} node(s), whole`,
      beside: 'the bar',
      ours: entries / ((performance.now() - startedAt) / 1000),
      peer: RATE_BAR,
      unit: 'entries/s',
      ...bar,
    })
  } finally {
    await cluster.dispose()
    await rm(dir, { recursive: true })
  }
}
