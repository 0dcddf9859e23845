import { readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

import { hashBytes } from '../../shared/blob/hash.ts'
import { clientOf, makeTempDir, runCLI, startCluster, type Cluster } from '../helpers/cluster.ts'
import { v1Fixture } from '../helpers/v1-fixtures.ts'

let cluster: Cluster
let client: ReturnType<typeof clientOf>

beforeAll(async () => {
  cluster = await startCluster({ nodes: 3 })
  client = clientOf(cluster)
})

afterAll(() => cluster?.dispose())

const HELLO = 'Hello from bzzz.'

describe('bzzz up with three nodes', () => {
  it('says in one line where everything is', async () => {
    const { state, dataDir } = cluster
    expect(Object.keys(state).toSorted()).toEqual([
      'dataDir',
      'endpoints',
      'pid',
      'processes',
      'ready',
      'tokenFile',
      'version',
    ])
    expect(state).toMatchObject({
      ready: true,
      dataDir,
      tokenFile: join(dataDir, 'config/admin.token'),
    })
    expect(state.endpoints.nodes.map(({ name }) => name)).toEqual(['walnut', 'ironwood', 'acacia'])
    expect(Object.keys(state.processes)).toEqual(
      expect.arrayContaining(['walnut', 'ironwood', 'acacia', 'gateway']),
    )
    expect(JSON.stringify(state)).not.toContain(cluster.token)
    for (const { http } of state.endpoints.nodes) {
      const peers = (await (await client.get(`${http}/v1/peers`)).json()) as { peers: unknown[] }
      expect(peers.peers).toHaveLength(2)
    }
  })

  it('stores content under an address and serves it on every surface', async () => {
    const address = 'reviewer@apollo:task-42/plan.md'
    const written = await client.putWell(address, HELLO)
    expect(written).toMatchObject({
      address: `bzzz://${address}`,
      version: 1,
      hash: hashBytes(Buffer.from(HELLO)),
      size: HELLO.length,
    })
    // A quorum is what the answer waits for; the third copy may come right after it.
    expect(new Set(written.replicas).size).toBeGreaterThanOrEqual(2)

    for (const url of [client.resolveURL, client.gatewayURL]) {
      for (const path of [address, `${address}?v=1`, `b3/${written.hash}`]) {
        const answer = await client.get(`${url}/${path}`)
        expect([answer.status, await answer.text()]).toEqual([200, HELLO])
        expect(answer.headers.get('etag')).toBe(`"${written.hash}"`)
      }
    }
    for (const index of [0, 1, 2]) {
      const answer = await client.get(`${client.nodeURL(index)}/v1/blobs/${written.hash}`)
      expect(await answer.text()).toBe(HELLO)
    }
  })

  it('reads through one node what another one took', async () => {
    for (const [from, to] of [
      [0, 1],
      [1, 2],
      [2, 0],
    ] as const) {
      const content = `taken by node ${from}`
      const { hash } = await client.putBlob(client.nodeURL(from), content)
      const direct = await client.get(`${client.nodeURL(to)}/v1/blobs/${hash}`)
      expect(await direct.text()).toBe(content)
      const resolved = await client.get(`${client.gatewayURL}/b3/${hash}`)
      expect(await resolved.text()).toBe(content)
    }
  })

  it('keeps versions and refuses a writer who is late', async () => {
    const address = 'writer@apollo/notes.txt'
    const first = await client.putWell(address, 'one')
    const condition = { 'if-match': `"${first.hash}"` }
    await client.putWell(address, 'two', condition)
    const late = await client.put(address, 'three', condition)
    expect(late.status).toBe(409)
    expect(await late.json()).toMatchObject({
      error: { code: 'BZZZ_VERSION_CONFLICT' },
      current: { version: 2 },
    })
    const text = async (query: string) =>
      (await client.get(`${client.resolveURL}/${address}${query}`)).text()
    expect([await text(''), await text('?v=1'), await text('?v=2')]).toEqual(['two', 'one', 'two'])
    const history = JSON.parse(await text('?history')) as { records: { version: number }[] }
    expect(history.records.map(({ version }) => version)).toEqual([2, 1])
  })

  it('refuses who has no token or the wrong one', async () => {
    const nodePath = `${client.nodeURL(0)}/v1/blobs`
    for (const url of [`${client.resolveURL}/b3`, `${client.gatewayURL}/b3`, nodePath]) {
      expect((await fetch(`${url}/${'0'.repeat(64)}`)).status).toBe(401)
    }
    const args = ['--subject', 'guest', '--role', 'viewer', '--data', cluster.dataDir]
    const { stdout } = await runCLI(['token', 'create', ...args])
    const guest = clientOf({ state: cluster.state, token: stdout.trim() })
    expect((await guest.put('guest@apollo/x', 'x')).status).toBe(403)
  })
})

describe('bzzz commands', () => {
  const bzzz = (args: string[], stdin: string | Buffer = '') =>
    runCLI(args, { stdin, env: { BZZZ_DATA: cluster.dataDir } })

  it('put, get and resolve a large file without a change', async () => {
    const folder = await makeTempDir()
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const [file, copy] = [join(folder, 'model.bin'), join(folder, 'copy.bin')]
    const content = Buffer.alloc(9 * 1024 * 1024)
    for (let index = 0; index < content.length; index++) content[index] = (index * 7919) % 251
    await writeFile(file, content)
    const address = 'bzzz://trainer@apollo/model.bin'
    const put = await bzzz(['put', file, address, '--json'])
    expect(put).toMatchObject({ exitCode: 0, stderr: '' })
    expect(JSON.parse(put.stdout)).toMatchObject({ hash: hashBytes(content), version: 1 })
    expect(await bzzz(['get', address, '-o', copy])).toMatchObject({ exitCode: 0, stderr: '' })
    expect((await readFile(copy)).equals(content)).toBe(true)
    const record = await bzzz(['resolve', address, '--json'])
    expect(JSON.parse(record.stdout)).toMatchObject({
      hash: hashBytes(content),
      size: content.length,
      mediaType: 'application/octet-stream',
    })
  })

  it('put from stdin and get to stdout', async () => {
    const address = 'bzzz://shell@apollo/note.md'
    expect((await bzzz(['put', '-', address], 'first')).exitCode).toBe(0)
    expect((await bzzz(['put', '-', address, '--version', '1'], 'second')).exitCode).toBe(0)
    expect((await bzzz(['get', address])).stdout).toBe('second')
    expect((await bzzz(['get', `${address}?v=1`])).stdout).toBe('first')
    const late = await bzzz(['put', '-', address, '--version', '1'], 'third')
    expect(late).toMatchObject({ exitCode: 1, stdout: '' })
    expect(late.stderr).toMatch(/^bzzz: .* \(BZZZ_VERSION_CONFLICT\)\n$/)
    const history = await bzzz(['resolve', address, '--history'])
    expect(history.stdout.split('\n')).toMatchObject([
      expect.stringMatching(/^VERSION/),
      expect.stringMatching(/^2 .*text\/markdown/),
      expect.stringMatching(/^1 .*text\/markdown/),
      '',
    ])
  })

  it('imports a log of v1, and reads it back from another node than took it', async () => {
    const log = v1Fixture('v1-emitted-only/walnut.ndjson')
    const run = await bzzz(['migrate', 'v1', 'run', log, '--json'])
    expect(run).toMatchObject({ exitCode: 0, stderr: '' })
    const imported = JSON.parse(run.stdout) as { id: string; entries: { verified: number } }
    expect(imported.entries.verified).toBe(100)
    const { stdout } = await bzzz(['migrate', 'v1', 'report', imported.id, '--json'])
    const { address, report } = JSON.parse(stdout) as {
      address: string
      report: { verifiedFrom: string[] }
    }
    const resolved = await bzzz(['resolve', address, '--json'])
    // Who signed the record of the report is the node that everything was written through.
    const { author } = JSON.parse(resolved.stdout) as { author: string }
    const peerIds = await Promise.all(
      [0, 1, 2].map(async (index) => {
        const answer = await client.get(`${client.nodeURL(index)}/v1/status`)
        return ((await answer.json()) as { node: { peerId: string } }).node.peerId
      }),
    )
    expect(peerIds).toEqual(expect.arrayContaining([author, ...report.verifiedFrom]))
    expect(report.verifiedFrom).not.toEqual([])
    expect(report.verifiedFrom).not.toContain(author)
    // Who knows the gateway and has a token may ask from anywhere.
    const env = { BZZZ_GATEWAY_URL: cluster.state.endpoints.gateway, BZZZ_TOKEN: cluster.token }
    const folder = await makeTempDir()
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const status = await runCLI(['migrate', 'v1', 'status', imported.id, '--data', folder], { env })
    expect(status).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('100 of 100') })
  })

  it('status shows all nodes, the gateway and the database', async () => {
    const { stdout, exitCode } = await bzzz(['status'])
    expect(exitCode).toBe(0)
    for (const name of ['walnut', 'ironwood', 'acacia']) {
      expect(stdout).toMatch(new RegExp(`^${name} .* 2 of 2 `, 'm'))
    }
    expect(stdout).toMatch(/^gateway .*functions: .*resolve/m)
    expect(stdout).toMatch(/^database {2}up$/m)
    expect(stdout).not.toContain('problems')
    const json = JSON.parse((await bzzz(['status', '--json'])).stdout) as Record<string, unknown>
    expect(json).toMatchObject({
      nodes: [{ name: 'walnut', up: true }, { name: 'ironwood' }, { name: 'acacia' }],
      gateway: { up: true },
    })
  })

  it('up refuses a folder and ports that are in use, and leaves no trace', async () => {
    const { dataDir, state } = cluster
    const locked = await bzzz(['up', '--data', dataDir])
    expect(locked).toMatchObject({ exitCode: 1, stdout: '' })
    expect(locked.stderr).toMatch(
      new RegExp(`in use by another bzzz up \\(process ${state.pid}\\).*BZZZ_DATA_FOLDER_LOCKED`),
    )
    const offset = Number(new URL(state.endpoints.gateway).port) - 8080
    const other = join(dirname(dataDir), 'other')
    const inUse = await bzzz(['up', '--data', other, '--port-offset', String(offset)])
    expect(inUse.exitCode).toBe(1)
    expect(inUse.stderr).toMatch(
      /^bzzz: Port \d+, meant for .*--port-offset.*BZZZ_PORT_IN_USE\)\n$/,
    )
    await expect(readFile(join(other, 'bzzz.json'))).rejects.toThrow(/ENOENT/)
    expect((await bzzz(['status'])).exitCode).toBe(0)
  })
})
