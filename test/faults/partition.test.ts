import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { beforeEach, describe, expect, it } from 'vitest'

import { bundleDaemon } from '../helpers/daemon-bundle.ts'
import { createDaemons, type Daemon, type Daemons } from '../helpers/daemons.ts'
import { whyNoNamespaces } from '../helpers/netns.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient } from './blob-client.ts'
import { statusOf } from './cluster-status.ts'
import { CuttableLan, CUTS, PEER_PORT } from './cuttable-lan.ts'
import { RecordClient } from './record-client.ts'
import { beginFault, type FaultRow, LONG, sleep } from './rounds.ts'

/** Addresses that all nodes write to during one partition, beside one for the whole test. */
const NAMES = 3

/** How long a partition lasts; most are short, some outlive the nodes' patience of 20 s. */
const CUT_MS_MIN = 500
const CUT_MS_MAX = LONG ? 25_000 : 1_500

/** Between two writes of one writer. */
const PAUSE_MS = 50

const BLOB_BYTES_MAX = 16 * 1024

/** A goal of the project: after healing all nodes agree within it. */
const AGREE_MS_MAX = 60_000

/** What a write may be refused with while nodes are out of reach; anything else is a fault. */
const REFUSALS = [
  'BZZZ_PARTITION_MINORITY',
  'BZZZ_QUORUM_NOT_REACHED',
  'BZZZ_PEER_UNREACHABLE',
  'BZZZ_VERSION_CONFLICT',
  'BZZZ_BLOB_NOT_FOUND',
  'BZZZ_OVERLOADED',
]

const TIMEOUT_MS = 3 * 3_600_000

const missing = await whyNoNamespaces()

beforeEach((context) => {
  if (missing !== null) context.skip(missing)
})

interface World {
  daemons: Daemons
  lan: CuttableLan
  known: Acknowledged
  /** Hashes of acknowledged records by address. */
  records: Map<string, Set<string>>
  refusals: Map<string, number>
  row: FaultRow
  random: () => number
}

describe('three nodes and partitions of them', () => {
  it(
    'lose no acknowledged record or blob, and agree again soon after',
    async (context) => {
      const rounds = { short: 2, long: 100 }
      const { row, random } = beginFault(context, { fault: 'partitions during writes', rounds })
      const names = ['node1', 'node2', 'node3']
      const folder = await mkdtemp(join(tmpdir(), 'bzzz-partition-'))
      await using lan = await CuttableLan.create(names)
      const daemons = await createDaemons(3, {
        main: await bundleDaemon(folder),
        placeOf: (name) => lan.place(name),
        envOf: (name) => ({
          BZZZ_LISTEN: lan.addressOf(name),
          BZZZ_P2P_PORT: String(PEER_PORT),
          // Every write that a minority refuses would be a line, and hundreds are.
          BZZZ_LOG_LEVEL: 'silent',
          DHT_BOOTSTRAP_NODES: `${lan.addressOf('node1')}:${PEER_PORT}`,
        }),
      })
      const known = new Acknowledged(row, random)
      const records = new Map<string, Set<string>>()
      const world = { daemons, lan, known, records, refusals: new Map(), row, random }
      try {
        await daemons.start()
        await play(world)
        expect(row).toMatchObject({ lost: 0, wrong: 0 })
        const unexpected = [...world.refusals.keys()].filter((code) => !REFUSALS.includes(code))
        expect(unexpected).toEqual([])
      } finally {
        await daemons.stop()
        await rm(folder, { recursive: true })
      }
    },
    TIMEOUT_MS,
  )
})

async function play(world: World): Promise<void> {
  const { row, random, lan, records, known, refusals } = world
  let slowestMs = 0
  let forked = 0
  for (let round = 1; round <= row.rounds; round += 1) {
    const names = [addressOf('always'), ...rangeOf(NAMES).map((at) => addressOf(`${round}-${at}`))]
    const cut = CUTS[Math.floor(random() * CUTS.length)]!
    const [alone, other] = shuffled(['node1', 'node2', 'node3'], random) as [string, string]
    const ms = CUT_MS_MIN + random() ** 2 * (CUT_MS_MAX - CUT_MS_MIN)
    const writing = new AbortController()
    const written = world.daemons.nodes.map((node) => write(world, node, names, writing.signal))
    await lan.partition(alone, cut, { ms, random, other })
    const healedMs = performance.now()
    // Some are written just as the network comes back.
    await sleep(PAUSE_MS * 4)
    writing.abort()
    await Promise.all(written)
    await agree(world, names, healedMs)
    const agreedMs = performance.now() - healedMs
    slowestMs = Math.max(slowestMs, agreedMs)
    forked += await countForks(world, names)
    for (const node of world.daemons.nodes) await readBlobs(world, node)
    const acknowledged = [...records.values()].reduce((sum, hashes) => sum + hashes.size, 0)
    const refused = [...refusals].map(([code, count]) => `${count} ${code}`).join(', ')
    row.note =
      `${acknowledged} records and ${known.count} blobs acknowledged, ` +
      `agreed at most ${Math.round(slowestMs)} ms after healing, ` +
      `${forked} addresses with reported forks, refused: ${refused || 'none'}`
    if (LONG) console.log(`${round}: ${cut} of ${alone} for ${Math.round(ms)} ms`, row.note)
  }
}

/** Puts blobs and writes addresses until told to stop, and keeps what was acknowledged. */
async function write(world: World, node: Daemon, names: string[], signal: AbortSignal) {
  const { daemons, known, records, refusals, random } = world
  const blobs = new BlobClient(node.url, daemons.token)
  const client = new RecordClient(node.url, daemons.token)
  const refuse = (code: string): void => void refusals.set(code, (refusals.get(code) ?? 0) + 1)
  while (!signal.aborted) {
    const ack = random() < 0.5 ? 'quorum' : '1'
    const sizeBytes = Math.floor(random() * BLOB_BYTES_MAX)
    const { hash, answer } = await known.put(blobs, sizeBytes, ack)
    if (!answer || answer.status >= 300) {
      refuse(answer?.code ?? 'no answer')
    } else {
      const name = names[Math.floor(random() * names.length)]!
      const written = await client.write(name, hash)
      if (typeof written === 'string') refuse(written)
      else records.set(name, (records.get(name) ?? new Set()).add(written.record))
    }
    await sleep(PAUSE_MS)
  }
  await Promise.all([blobs.close(), client.close()])
}

/** Waits until all nodes have the same head of each address, and every acknowledged record. */
async function agree(world: World, names: string[], healedMs: number): Promise<void> {
  const { daemons, records, row } = world
  const clients = daemons.nodes.map(({ url }) => new RecordClient(url, daemons.token))
  for (const name of names) {
    const acknowledged = records.get(name)
    if (!acknowledged) continue
    for (;;) {
      const heads = await Promise.all(clients.map((client) => client.head(name)))
      const histories = await Promise.all(clients.map((client) => client.history(name)))
      const lacking = histories.map((history) => {
        const present = new Set(history.map(({ record }) => record))
        return [...acknowledged].filter((record) => !present.has(record))
      })
      const isOne = new Set(heads.map((head) => head?.record.record)).size === 1
      if (isOne && lacking.every((records) => records.length === 0)) break
      if (performance.now() - healedMs > AGREE_MS_MAX) {
        const everywhere = new Set(histories.flat().map(({ record }) => record))
        row.lost += [...acknowledged].filter((record) => !everywhere.has(record)).length
        const reach = await Promise.all(daemons.nodes.map((node) => statusOf(daemons, node)))
        console.log(JSON.stringify(reach.map(({ node, mesh, peers }) => ({ node, mesh, peers }))))
        const seen = { heads, lacking: lacking.map((records) => records.length), seed: row.seed }
        throw new Error(`No agreement on ${name} within a minute: ${JSON.stringify(seen)}`)
      }
      await sleep(PAUSE_MS)
    }
  }
  await Promise.all(clients.map((client) => client.close()))
}

/** Addresses with forks; every node reports one where two records of a version stand. */
async function countForks(world: World, names: string[]): Promise<number> {
  const { daemons, records } = world
  let count = 0
  const clients = daemons.nodes.map(({ url }) => new RecordClient(url, daemons.token))
  for (const name of names.filter((name) => records.has(name))) {
    const acknowledged = records.get(name)!
    const [first, ...others] = clients as [RecordClient, ...RecordClient[]]
    const history = await first.history(name)
    const versions = history.filter(({ record }) => acknowledged.has(record))
    const isForked = new Set(versions.map(({ version }) => version)).size < versions.length
    const heads = await Promise.all([first, ...others].map((client) => client.head(name)))
    if (isForked) expect(heads.every((head) => (head?.forks ?? 0) > 0)).toBe(true)
    if (heads.some((head) => (head?.forks ?? 0) > 0)) count += 1
  }
  await Promise.all(clients.map((client) => client.close()))
  return count
}

async function readBlobs({ daemons, known }: World, node: Daemon): Promise<void> {
  const client = new BlobClient(node.url, daemons.token)
  await known.checkSome(client, 20, 10)
  await client.close()
}

function addressOf(path: string): string {
  return `bzzz://writer@faults/partition/${path}`
}

function rangeOf(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, key: random() }))
    .toSorted((left, right) => left.key - right.key)
    .map(({ item }) => item)
}
