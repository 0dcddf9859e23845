import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { loadNodeKey } from '../p2p-daemon/mesh/node-key.ts'
import { startChild, type Child } from '../test/helpers/child.ts'
import { until, writeAllowList } from '../test/helpers/mesh.ts'
import type { Command } from './dht/command.ts'
import { median, row, type Row } from './row.ts'

export const name = 'dht'

/** BENCH_DHT_NODES=30 measures a mesh of thirty: it takes 3 GB and some minutes. */
const SIZES = (process.env['BENCH_DHT_NODES'] ?? '3,10').split(',').map(Number)
const KEYS = 60
/** Of kad-dht: with thirty nodes more than these may fall into one bucket, and are not kept. */
const BUCKET_PEERS_MAX = 20
const FULL_TIMEOUT_MS = 240_000
const OPERATIONS = ['provide', 'find', 'put', 'get'] as const

type Times = Record<(typeof OPERATIONS)[number], number[]>
type Node = Child<{ address: string }>

/** Operations on the table beside bare kad-dht in as many processes. */
export async function run(): Promise<Row[]> {
  const rows: Row[] = []
  for (const size of SIZES) {
    const peer = await measure(size, startKad)
    const ours = await measure(size, startOurs)
    for (const op of OPERATIONS) {
      const what = op === 'find' ? 'find providers (first)' : op
      const pair = { beside: 'bare kad-dht on the same layout', unit: 'ms' }
      const work = `${what}, ${size} nodes`
      const middle = { ours: median(ours[op]), peer: median(peer[op]) }
      const worst = { ours: slowest(ours[op]), peer: slowest(peer[op]) }
      rows.push(row({ work: `${work}, median`, ...pair, ...middle, bar: { atMost: 1.5 } }))
      rows.push(row({ work: `${work}, p99`, ...pair, ...worst }))
    }
  }
  return rows
}

async function measure(
  size: number,
  start: (size: number, folder: string) => Promise<Node[]>,
): Promise<Times> {
  const folder = await mkdtemp(join(tmpdir(), 'bzzz-bench-dht-'))
  const nodes = await start(size, folder)
  try {
    for (const node of nodes) {
      const isFull = async (): Promise<boolean> =>
        (await tell(node, { op: 'peers', key: '' })) >= Math.min(size - 1, BUCKET_PEERS_MAX)
      await until(isFull, 'a full routing table', FULL_TIMEOUT_MS)
    }
    const times: Times = { provide: [], find: [], put: [], get: [] }
    const [first, last] = [nodes[0]!, nodes.at(-1)!]
    for (let key = 0; key < KEYS; key += 1) {
      for (const op of OPERATIONS) {
        const asked = op === 'provide' || op === 'put' ? first : last
        times[op].push(await tell(asked, { op, key: `${key}` }))
      }
    }
    return times
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(folder, { recursive: true })
  }
}

async function startOurs(size: number, folder: string): Promise<Node[]> {
  const folders = Array.from({ length: size }, (_, index) => join(folder, `${index}`))
  const keys = await Promise.all(folders.map((dataDir) => loadNodeKey(dataDir)))
  const peerIds = keys.map(({ peerId }) => peerId)
  const nodes: Node[] = []
  for (const dataDir of folders) {
    await writeAllowList({ dataDir }, peerIds)
    const env = { DATA_DIR: dataDir, BOOTSTRAP: nodes[0]?.ready.address ?? '' }
    nodes.push(await startChild(new URL('./dht/our-node.ts', import.meta.url), { env }))
  }
  return nodes
}

async function startKad(size: number): Promise<Node[]> {
  const nodes: Node[] = []
  for (let index = 0; index < size; index += 1) {
    const node: Node = await startChild(new URL('./dht/kad-node.ts', import.meta.url))
    for (const other of nodes) await tell(node, { op: 'dial', key: other.ready.address })
    nodes.push(node)
  }
  return nodes
}

async function tell(node: Node, command: Command): Promise<number> {
  node.process.send(command)
  const [answer] = (await once(node.process, 'message')) as [{ result: number; error?: string }]
  if (answer.error !== undefined) throw new Error(answer.error)
  return answer.result
}

function slowest(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.ceil(times.length * 0.99) - 1]!
}
