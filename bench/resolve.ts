import { once } from 'node:events'

import { startChild, type Child } from '../test/helpers/child.ts'
import { startDaemons, type Daemons } from '../test/helpers/daemons.ts'
import { CONNECTIONS, rate } from './http/rate.ts'
import { median, row, type Row } from './row.ts'

export const name = 'resolve'

const ROUNDS = 6
const LOOKUPS = 200
const RECORD = 'bench@bench/record.json'

/** Longest median of an address that has to be asked for over three nodes. */
const PROMISED_MS = 25

/** Resolving an address: from the cache beside a constant, over three nodes beside bare kad-dht. */
export async function run(): Promise<Row[]> {
  const nodes = await startDaemons(3)
  try {
    await store(nodes, RECORD)
    return [await cached(nodes), ...(await uncached(nodes))]
  } finally {
    await nodes.stop()
  }
}

async function cached(nodes: Daemons): Promise<Row> {
  const ours = await startChild<{ port: number }>(
    new URL('./resolve/function-server.ts', import.meta.url),
    { env: { BZZZ_ENDPOINT: nodes.urls.join(','), BZZZ_TOKEN_KEYS_FILE: nodes.tokenKeysFile } },
  )
  const url = `http://127.0.0.1:${ours.ready.port}/${RECORD}?record`
  const headers = { authorization: `Bearer ${nodes.token}` }
  const body = await (await fetch(url, { headers })).text()
  const peer = await startChild<{ port: number }>(
    new URL('./resolve/constant-server.ts', import.meta.url),
    { env: { CONSTANT_BYTES: String(body.length - '{"constant":""}'.length) } },
  )
  const rates: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      rates.ours.push(await rate(url, headers))
      rates.peer.push(await rate(`http://127.0.0.1:${peer.ready.port}/x`, headers))
    }
  } finally {
    await Promise.all([ours.stop(), peer.stop()])
  }
  return row({
    work: `resolve an address, cached, token checked, ${CONNECTIONS} clients`,
    beside: 'Fastify answering a constant of the same size',
    ours: median(rates.ours),
    peer: median(rates.peer),
    unit: 'requests/s',
    bar: { atLeast: 0.6 },
  })
}

async function uncached(nodes: Daemons): Promise<Row[]> {
  const names = Array.from({ length: LOOKUPS }, (_, index) => `bench@bench/lookup-${index}`)
  for (const address of names) await store(nodes, address)
  const kad = await startKad(names)
  const times: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
  try {
    // In turns, so that a slow moment of the machine meets both.
    for (let at = 0; at < names.length; at += 20) {
      const slice = names.slice(at, at + 20)
      times.peer.push(...(await kad.get(slice)))
      for (const address of slice) times.ours.push(await lookup(nodes, address))
    }
  } finally {
    await kad.stop()
  }
  const work = 'resolve an address, uncached, over 3 nodes, HTTP included (median)'
  const ours = median(times.ours)
  return [
    row({
      work,
      beside: 'bare kad-dht get on the same layout',
      ours,
      peer: median(times.peer),
      unit: 'ms',
      bar: { atMost: 1.5 },
    }),
    row({
      work,
      beside: 'what was promised',
      ours,
      peer: PROMISED_MS,
      unit: 'ms',
      bar: { atMost: 1 },
    }),
  ]
}

/** `no-cache` makes the node ask the other holders, whatever it holds itself. */
async function lookup(nodes: Daemons, address: string): Promise<number> {
  const headers = { authorization: `Bearer ${nodes.token}`, 'cache-control': 'no-cache' }
  const startedAt = performance.now()
  const answer = await fetch(`${nodes.urls[2]}/v1/resolve?address=${address}`, { headers })
  await answer.json()
  if (answer.status !== 200) throw new Error(`Resolve answered ${answer.status}.`)
  return performance.now() - startedAt
}

async function store(nodes: Daemons, address: string): Promise<void> {
  const authorization = `Bearer ${nodes.token}`
  const blob = await fetch(`${nodes.urls[0]}/v1/blobs`, {
    method: 'PUT',
    body: `content of ${address}`,
    headers: { authorization },
  })
  const { hash } = (await blob.json()) as { hash: string }
  const written = await fetch(`${nodes.urls[0]}/v1/addresses?address=${address}`, {
    method: 'PUT',
    body: JSON.stringify({ hash, mediaType: 'text/plain' }),
    headers: { authorization, 'content-type': 'application/json' },
  })
  if (written.status !== 201) throw new Error(`The write was answered with ${written.status}.`)
}

/** Three processes of bare kad-dht that hold the same number of values of a record's size. */
async function startKad(keys: string[]) {
  const module = new URL('./resolve/kad-node.ts', import.meta.url)
  const start = (): Promise<KadNode> => startChild<{ address: string }>(module)
  const nodes = [await start(), await start(), await start()] as const
  const [first, second, third] = nodes
  await tell(second, { op: 'dial', address: first.ready.address })
  await tell(third, { op: 'dial', address: first.ready.address })
  await tell(third, { op: 'dial', address: second.ready.address })
  // The first self-query comes after a second and other queries wait for it.
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  for (const key of keys) await tell(first, { op: 'put', key, value: 'x'.repeat(480) })
  return {
    get: async (slice: string[]) => (await tell(third, { op: 'get', keys: slice })) as number[],
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  }
}

type KadNode = Child<{ address: string }>

async function tell(node: KadNode, command: object): Promise<unknown> {
  node.process.send(command)
  const [answer] = (await once(node.process, 'message')) as [{ result?: unknown; error?: string }]
  if (answer.error !== undefined) throw new Error(answer.error)
  return answer.result
}
