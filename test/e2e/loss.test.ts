import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { clientOf, runCLI, startCluster, type Cluster } from '../helpers/cluster.ts'
import { processTree, stillRunning } from '../helpers/processes.ts'

/** How many writers put at the same time when everything is killed. */
const WRITERS = 4

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ nodes: 3 })
})

afterAll(() => cluster?.dispose())

describe('a node that is killed', () => {
  it('does not take with it what it acknowledged, and comes back', async () => {
    const client = clientOf(cluster)
    const content = 'acknowledged by walnut'
    const { hash } = await client.putBlob(client.nodeURL(0), content)
    await client.putWell('me@loss/kept.txt', content)
    const { walnut } = await cluster.processes()
    process.kill(walnut!, 'SIGKILL')

    for (const url of [
      `${client.nodeURL(1)}/v1/blobs/${hash}`,
      `${client.nodeURL(2)}/v1/blobs/${hash}`,
      `${client.resolveURL}/me@loss/kept.txt`,
      `${client.gatewayURL}/me@loss/kept.txt`,
    ]) {
      const answer = await client.get(url)
      expect([answer.status, await answer.text()]).toEqual([200, content])
    }

    const peersOfWalnut = async () => {
      const answer = await client.get(`${client.nodeURL(0)}/v1/peers`).catch(() => null)
      return answer ? ((await answer.json()) as { peers: unknown[] }).peers.length : 0
    }
    await expect.poll(peersOfWalnut, { timeout: 60_000, interval: 200 }).toBe(2)
    expect((await cluster.processes())['walnut']).not.toBe(walnut)
    const again = await client.get(`${client.nodeURL(0)}/v1/blobs/${hash}`)
    expect(await again.text()).toBe(content)
  })

  it('may be the gateway', async () => {
    const client = clientOf(cluster)
    const { gateway } = await cluster.processes()
    process.kill(gateway!, 'SIGKILL')
    const read = () =>
      client.get(`${client.gatewayURL}/me@loss/kept.txt`).then(
        (answer) => answer.text(),
        () => 'no answer',
      )
    await expect.poll(read, { timeout: 60_000, interval: 100 }).toBe('acknowledged by walnut')
  })
})

describe('a cluster that is killed as a whole', () => {
  it('has everything it acknowledged when it starts again, and stops without a trace', async () => {
    const client = clientOf(cluster)
    const acknowledged = new Map<string, string>()
    const enough = Promise.withResolvers<void>()
    const write = async (writer: number) => {
      for (let count = 0; ; count++) {
        const [address, content] = [`w${writer}@loss/${count}.txt`, `${writer} wrote ${count}`]
        const answer = await client.put(address, content).catch(() => null)
        if (!answer) return
        if (answer.ok) acknowledged.set(address, content)
        if (acknowledged.size >= 40) enough.resolve()
      }
    }
    const writers = Array.from({ length: WRITERS }, (_, index) => write(index))
    await enough.promise
    const tree = await cluster.tree()
    await cluster.killAll()
    await Promise.all(writers)
    await expect.poll(() => stillRunning(tree), { timeout: 30_000, interval: 50 }).toEqual([])

    const again = await startCluster({ nodes: 3, dataDir: cluster.dataDir })
    try {
      const reader = clientOf(again)
      for (const [address, content] of acknowledged) {
        const answer = await reader.get(`${reader.resolveURL}/${address}`)
        expect([address, await answer.text()]).toEqual([address, content])
      }
      expect(again.token).toBe(cluster.token)

      const pids = await processTree(again.state.pid)
      expect(pids.length).toBeGreaterThan(4)
      expect(await again.stop()).toBe(0)
      expect(await stillRunning(pids)).toEqual([])
    } finally {
      await again.dispose()
    }
  })

  it('ends with its supervisor, and the next start does not have to wait for a person', async () => {
    const first = await startCluster({ nodes: 1, dataDir: `${cluster.dataDir}-one` })
    const tree = (await first.tree()).filter((pid) => pid !== first.state.pid)
    process.kill(first.state.pid, 'SIGKILL')
    await expect.poll(() => stillRunning(tree), { timeout: 30_000, interval: 100 }).toEqual([])
    const second = await startCluster({ nodes: 1, dataDir: first.dataDir })
    const status = await runCLI(['status', '--data', second.dataDir])
    expect(status).toMatchObject({ exitCode: 0 })
    expect([await second.stop(), second.stderr()]).toEqual([
      0,
      expect.stringMatching(/stopping\n$/),
    ])
    await first.dispose()
  })
})
