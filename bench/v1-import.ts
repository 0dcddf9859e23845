import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { runCLI, startCluster } from '../test/helpers/cluster.ts'
import { writeV1Log } from '../test/helpers/v1-log.ts'
import { row, type Row } from './row.ts'

export const name = 'v1-import'

/** A hundred entries to a thread. A shorter log shows how fast Node starts and warms up. */
const ENTRIES = 60_000
const ISSUES = 600

/** What a whole import is to do at least, embedded on two cores. */
const RATE_BAR = 3_000

/** A whole import into `bzzz up`: stored, in threads, read back and verified, reported. */
export async function run(): Promise<Row[]> {
  const rows: Row[] = []
  // Three nodes on one machine write everything three times, so nothing is promised of them.
  for (const nodes of [1, 3]) rows.push(await measure(nodes))
  return rows
}

async function measure(nodes: number): Promise<Row> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-import-'))
  const log = join(dir, 'log.ndjson')
  await writeV1Log(log, { entries: ENTRIES, issues: ISSUES })
  const cluster = await startCluster({ nodes })
  try {
    const startedAt = performance.now()
    const args = ['migrate', 'v1', 'run', log, '--data', cluster.dataDir, '--json']
    const { exitCode, stdout, stderr } = await runCLI(args)
    if (exitCode !== 0) throw new Error(stderr)
    const { entries } = JSON.parse(stdout) as { entries: { verified: number } }
    if (entries.verified !== ENTRIES) throw new Error('Not all was verified.')
    return row({
      work: `import ${ENTRIES.toLocaleString('en')} entries of v1 into ${nodes} node(s), whole`,
      beside: 'the bar',
      ours: ENTRIES / ((performance.now() - startedAt) / 1000),
      peer: RATE_BAR,
      unit: 'entries/s',
      ...(nodes === 1 && { bar: { atLeast: 1 } }),
    })
  } finally {
    await cluster.dispose()
    await rm(dir, { recursive: true })
  }
}
