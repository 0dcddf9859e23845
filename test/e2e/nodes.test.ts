import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { ListedNode } from '../../p2p-daemon/nodes/nodes.ts'
import type { NodeStatus } from '../../p2p-daemon/status.ts'
import { startDaemons, type Daemon, type Daemons } from '../helpers/daemons.ts'
import { until } from '../helpers/mesh.ts'

const BLOBS = 30

let daemons: Daemons
let hashes: string[]

const node = (index: number): Daemon => daemons.nodes[index]!
const post = (url: string) => daemons.getJSON(url, { method: 'POST' })

async function listed(through: Daemon): Promise<Record<string, ListedNode>> {
  const answer = (await daemons.getJSON(`${through.url}/v1/nodes`)) as { nodes: ListedNode[] }
  return Object.fromEntries(answer.nodes.map((entry) => [entry.name, entry]))
}

const status = (of: Daemon) => daemons.getJSON(`${of.url}/v1/status`) as Promise<NodeStatus>

beforeAll(async () => {
  daemons = await startDaemons(4)
  const puts = Array.from({ length: BLOBS }, async (_, index) => {
    const { url } = node(index % 4)
    const init = { method: 'PUT', body: `content ${index}` }
    return (await daemons.getJSON(`${url}/v1/blobs?ack=all`, init)) as { hash: string }
  })
  hashes = (await Promise.all(puts)).map(({ hash }) => hash)
})

afterAll(() => daemons.stop())

describe('a node that leaves for good', () => {
  it('is drained, also over a restart, and has nothing left that is not elsewhere', async () => {
    await post(`${node(0).url}/v1/nodes/node3/drain`)
    await node(2).stop()
    await node(2).start()
    await daemons.meshed()
    const isDrained = async () => (await listed(node(0)))['node3']?.report?.drained === true
    await until(isDrained, 'node3 to be drained', 60_000)
    expect((await listed(node(1)))['node3']).toMatchObject({ state: 'draining', placed: false })
    expect((await status(node(2))).replication).toMatchObject({ draining: true, remaining: 0 })
  })

  it('is removed from every list, and every blob is still on the three others', async () => {
    const { peerId } = node(2)
    const answer = await post(`${node(1).url}/v1/nodes/node3/remove`)
    expect(answer).toMatchObject({ removed: { peerId, name: 'node3' }, notTold: [] })
    for (const { dataDir } of [node(0), node(1), node(3)]) {
      const list = await readFile(join(dataDir, 'config', 'peers.json'), 'utf8')
      expect(list).not.toContain(peerId)
    }
    await until(async () => (await status(node(2))).peers.length === 0, 'node3 to be alone')
    await node(2).stop()
    for (const index of [0, 1, 3]) {
      await until(async () => (await status(node(index))).replication.owed === 0, 'nothing owed')
      expect((await status(node(index))).replication.underReplicated).toBe(0)
    }
    for (const [index, hash] of hashes.entries()) {
      const { url } = node([0, 1, 3][index % 3]!)
      const read = await fetch(`${url}/v1/blobs/${hash}`, {
        headers: { authorization: `Bearer ${daemons.token}` },
      })
      expect(await read.text()).toBe(`content ${index}`)
    }
    const metrics = await (await fetch(`${node(0).url}/metrics`)).text()
    expect(metrics).toMatch(/^bzzz_blob_under_replicated 0$/m)
    expect(metrics).toMatch(/^bzzz_repair_jobs\{state="parked"\} 0$/m)
  })
})
