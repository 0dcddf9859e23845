import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'
import { describe, expect, it } from 'vitest'

import { findDatabase } from '../../cli/client/cluster-database.ts'
import { layoutOf } from '../../cli/up/data-layout.ts'
import { createCommandHost } from '../helpers/command-host.ts'
import { runCLI, startCluster, type Cluster } from '../helpers/cluster.ts'
import { importedContents, startImportCluster, type Contents } from '../helpers/import-cluster.ts'
import { until } from '../helpers/mesh.ts'
import { v1Fixture } from '../helpers/v1-fixtures.ts'
import { writeV1Log } from '../helpers/v1-log.ts'
import { beginFault, LONG, sleep } from './rounds.ts'

const VICTIMS = ['connector', 'gateway', 'walnut', 'postgres']

/** The longest time between two kills. */
const KILL_AFTER_MS_MAX = LONG ? 4_000 : 600

const TIMEOUT_MS = 3_600_000

/** Long enough that no import ends before the last kill. */
const LOG = LONG ? { entries: 30_000, issues: 600 } : { entries: 300, issues: 12 }

/** What an import brings that nobody disturbs. */
async function undisturbed(logs: readonly string[]): Promise<Contents> {
  const cluster = await startImportCluster()
  try {
    const { exitCode, err } = await cluster.migrate('run', ...logs)
    if (exitCode !== 0) throw new Error(err)
    return await cluster.contents()
  } finally {
    await cluster.stop()
  }
}

describe('an import whose connector, gateway, node and database are killed', () => {
  it(
    'ends as if nothing had happened',
    async (context) => {
      const { row, random } = beginFault(context, {
        fault: 'kill -9 in the middle of an import of v1',
        rounds: { short: 2, long: 50 },
      })
      const dir = await mkdtemp(join(tmpdir(), 'bzzz-migrate-killed-'))
      const log = join(dir, 'log.ndjson')
      await writeV1Log(log, LOG)
      // One that is bad from somewhere on as well: what is set aside must be the same, too.
      const logs = [log, v1Fixture('corrupt/flipped-byte-data.ndjson')]
      const cluster = await startCluster({
        nodes: 1,
        // The database must be the cluster's own, to be killed with it.
        env: { BZZZ_JOB_LOCK: '2s', DATABASE_URL: '', REDIS_URL: '' },
      })
      try {
        let ended = false
        let inTheMiddle = 0
        const asked = askUntilDone(cluster.dataDir, logs).finally(() => (ended = true))
        const killed: string[] = []
        for (let round = 0; round < row.rounds; round += 1) {
          await sleep(random() * KILL_AFTER_MS_MAX)
          if (!ended) inTheMiddle += 1
          const victim = VICTIMS[Math.floor(random() * VICTIMS.length)]!
          await kill(cluster, victim)
          killed.push(victim)
          row.note = killed.join(' ')
        }
        const attempts = await asked
        row.note = `${inTheMiddle} kills before the end; asked ${attempts} times`
        const contents = await readContents(cluster.dataDir)
        const expected = await undisturbed(logs)
        row.lost = expected.entries.length - contents.entries.length
        expect(contents).toEqual(expected)
        const verified = await runCLI(
          ['migrate', 'v1', 'export', ...logs, '--output', dir, '--data', cluster.dataDir],
          {},
        )
        expect(verified.exitCode, verified.stderr).toBe(0)
      } finally {
        await cluster.dispose()
        await rm(dir, { recursive: true })
      }
    },
    TIMEOUT_MS,
  )
})

/** As a person does: the command fails while a part is away, and is asked again. */
async function askUntilDone(dataDir: string, logs: readonly string[]): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const { exitCode } = await runCLI(['migrate', 'v1', 'run', ...logs, '--data', dataDir])
    if (exitCode === 0) return attempt
    await sleep(500)
  }
}

/** The process as it is now; one that is on its way back is waited for. */
async function kill(cluster: Pick<Cluster, 'processes'>, name: string): Promise<void> {
  await until(async () => {
    const pid = (await cluster.processes())[name]
    if (pid === undefined) return false
    try {
      process.kill(pid, 'SIGKILL')
      return true
    } catch {
      return false
    }
  }, `the process ${name}`)
}

async function readContents(dataDir: string): Promise<Contents> {
  const { host } = createCommandHost({})
  const database = await findDatabase(host, layoutOf(dataDir))
  if (!database) throw new Error('The cluster has no database.')
  await database.close()
  const pool = new pg.Pool({ connectionString: database.url, max: 1 })
  try {
    return await importedContents(
      async (text) => (await pool.query(text)).rows as Record<string, unknown>[],
    )
  } finally {
    await pool.end()
  }
}
