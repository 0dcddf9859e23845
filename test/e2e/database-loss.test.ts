import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { EmbeddedPostgres } from '../../cli/up/postgres/embedded-postgres.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { clientOf, makeTempDir, runCLI, startCluster, type Cluster } from '../helpers/cluster.ts'

let folder: string
let server: EmbeddedPostgres
let databaseURL: string
let cluster: Cluster

beforeAll(async () => {
  folder = await makeTempDir()
  server = createServer(false)
  // A server of its own, so that it can be stopped and stays stopped.
  databaseURL = await server.start()
  cluster = await startCluster({ nodes: 3, env: { DATABASE_URL: databaseURL } })
})

afterAll(async () => {
  await cluster.dispose()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

function createServer(initialised: boolean): EmbeddedPostgres {
  return new EmbeddedPostgres(
    { log: createSilentLogger() },
    {
      folder: join(folder, 'postgres'),
      logFile: join(folder, 'postgres.log'),
      initialised,
      onInitialised: async () => undefined,
    },
  )
}

describe('a database that is away', () => {
  it('was given, so none is started', () => {
    expect(Object.keys(cluster.state.processes).toSorted()).toEqual([
      'acacia',
      'connector',
      'gateway',
      'ironwood',
      'walnut',
    ])
  })

  it('keeps nobody from reading, resolving and writing', async () => {
    const client = clientOf(cluster)
    await client.putWell('me@away/a.txt', 'before')
    await server.stop()

    const databaseStates = async () => {
      const { stdout } = await runCLI(['status', '--json', '--data', cluster.dataDir])
      const { nodes } = JSON.parse(stdout) as {
        nodes: { status: { database: { state: string } } }[]
      }
      return nodes.map(({ status }) => status.database.state)
    }
    await client.putWell('me@away/b.txt', 'during')
    for (const [name, content] of [
      ['a', 'before'],
      ['b', 'during'],
    ]) {
      for (const url of [client.resolveURL, client.gatewayURL]) {
        const headers = { 'cache-control': 'no-cache' }
        const answer = await client.get(`${url}/me@away/${name}.txt`, headers)
        expect([answer.status, await answer.text()]).toEqual([200, content])
      }
    }
    // The node that took the write is the first to notice.
    await expect.poll(databaseStates, { timeout: 60_000, interval: 500 }).toContain('down')

    await server.start()
    await expect
      .poll(databaseStates, { timeout: 60_000, interval: 500 })
      .toEqual(['up', 'up', 'up'])
  })

  it('keeps no revocation from reaching everybody, and loses no audit row', async () => {
    const client = clientOf(cluster)
    const run = async (...args: string[]) => {
      const env = { DATABASE_URL: databaseURL }
      const ran = await runCLI([...args, '--data', cluster.dataDir], { env })
      expect(ran.exitCode, ran.stderr).toBe(0)
      return ran.stdout
    }
    const token = (await run('token', 'create', '--subject', 'scout')).trim()
    const statuses = (authorization: string) =>
      Promise.all(
        [
          `${client.resolveURL}/me@away/a.txt`,
          ...[0, 1, 2].map((index) => `${client.nodeURL(index)}/v1/peers`),
        ].map(async (url) => (await client.get(url, { authorization })).status),
      )
    expect(await statuses(`Bearer ${token}`)).toEqual([200, 200, 200, 200])
    await server.stop()

    await run('token', 'revoke', token)
    await expect
      .poll(() => statuses(`Bearer ${token}`), { timeout: 60_000, interval: 500 })
      .toEqual([401, 401, 401, 401])
    expect(await statuses(`Bearer ${cluster.token}`)).toEqual([200, 200, 200, 200])
    await client.putWell('me@away/c.txt', 'written down later')

    await server.start()
    const rows = () => run('audit', 'ls', '--action', 'PUT /*')
    await expect.poll(rows, { timeout: 60_000, interval: 500 }).toContain('/me@away/c.txt')
    expect(await run('audit', 'verify')).toMatch(/^chain +whole\n/)
  })
})
