import { describe, expect, it } from 'vitest'

import type { Peer } from '../../p2p-daemon/mesh/mesh.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { createDaemons, type Daemon, type Daemons } from '../helpers/daemons.ts'
import { until } from '../helpers/mesh.ts'
import { Acknowledged } from './acknowledged.ts'
import { BlobClient } from './blob-client.ts'
import { statusOf } from './cluster-status.ts'
import { RecordClient, type SeenRecord } from './record-client.ts'
import { beginFault } from './rounds.ts'

const THREE_DAYS_MS = 3 * 86_400_000

/** Clocks of one machine differ by nothing; what a write takes is the only difference. */
const NEAR_MS = 60_000

const BLOBS = 10
const LEASE = '1h'

const PRELOAD = new URL('set-clock.ts', import.meta.url)
const TIMEOUT_MS = 3_600_000

interface Lease {
  id: string
}

describe('three nodes of which one has a clock three days off', () => {
  it(
    'let nothing expire early and date nothing in the future',
    async (context) => {
      const rounds = { short: 1, long: 6 }
      const { row, random } = beginFault(context, { fault: 'one clock three days off', rounds })
      for (let round = 1; round <= row.rounds; round += 1) {
        const stepMs = random() < 0.5 ? THREE_DAYS_MS : -THREE_DAYS_MS
        const daemons = await startCluster(stepMs)
        const known = new Acknowledged(row, random)
        try {
          const kept = await fill(daemons, known)
          await setClock(daemons)
          await checkKept(daemons, kept)
          await writeOn(daemons)
          await collectGarbage(daemons)
          for (const node of daemons.nodes) await readAll(daemons, node, known)
          await checkKept(daemons, kept)
          row.note = `${known.count} blobs, clock set by ${stepMs / 86_400_000} days last`
        } finally {
          await daemons.stop()
        }
      }
      expect(row).toMatchObject({ lost: 0, wrong: 0 })
    },
    TIMEOUT_MS,
  )
})

/** `node3` has a clock that can be set. */
async function startCluster(stepMs: number): Promise<Daemons> {
  const daemons = await createDaemons(3, {
    envOf: () => ({ BZZZ_TEST_CLOCK_STEP_MS: String(stepMs) }),
    execArgvOf: (name) => (name === 'node3' ? ['--import', PRELOAD.href] : []),
  })
  await daemons.start()
  return daemons
}

function nodesOf(daemons: Daemons): { right: Daemon; off: Daemon } {
  const [right, , off] = daemons.nodes as [Daemon, Daemon, Daemon]
  return { right, off }
}

/** Blobs that nothing refers to yet, and leases taken on either side. */
async function fill(daemons: Daemons, known: Acknowledged): Promise<Lease[]> {
  const { right, off } = nodesOf(daemons)
  const client = new BlobClient(right.url, daemons.token)
  for (let put = 0; put < BLOBS; put += 1) await known.put(client)
  await client.close()
  // What is unreferenced now is written down, and may be deleted a day later.
  for (const node of daemons.nodes) await collect(daemons, node)
  return [await lease(daemons, right, known), await lease(daemons, off, known)]
}

async function setClock(daemons: Daemons): Promise<void> {
  const { right, off } = nodesOf(daemons)
  off.signal('SIGUSR2')
  await until(async () => {
    const { peers } = (await daemons.getJSON(`${off.url}/v1/peers`)) as { peers: Peer[] }
    const seen = peers.find(({ peerId }) => peerId === right.peerId)
    return Math.abs(seen?.clockAheadMs ?? 0) > THREE_DAYS_MS / 2
  }, 'the set clock to show')
  expect((await statusOf(daemons, off)).mesh.partition).toBe('none')
}

async function lease(daemons: Daemons, node: Daemon, known: Acknowledged): Promise<Lease> {
  const hash = known.hashes[0]
  return (await post(daemons, node, 'leases', { hash, ttl: LEASE, reason: 'clock' })) as Lease
}

/** Every node still knows every lease. */
async function checkKept(daemons: Daemons, kept: readonly Lease[]): Promise<void> {
  for (const { url } of daemons.nodes) {
    const { leases } = (await daemons.getJSON(`${url}/v1/leases`)) as { leases: Lease[] }
    expect(leases.map(({ id }) => id)).toEqual(expect.arrayContaining(kept.map(({ id }) => id)))
  }
}

/** What the node with the wrong clock writes is dated by the time of the others. */
async function writeOn(daemons: Daemons): Promise<void> {
  const { off } = nodesOf(daemons)
  const bytes = Buffer.from('written while the clock is off')
  const blobs = new BlobClient(off.url, daemons.token)
  await blobs.put(bytes)
  await blobs.close()
  const address = 'bzzz://writer@faults/clock'
  const clients = daemons.nodes.map(({ url }) => new RecordClient(url, daemons.token))
  const written = (await clients[2]!.write(address, hashBytes(bytes))) as SeenRecord
  expect(written).toMatchObject({ version: 1 })
  for (const client of clients) {
    const head = await client.head(address)
    expect(head?.record.record).toBe(written.record)
    const datedMs = new Date(head!.record.timestamp).getTime()
    expect(Math.abs(datedMs - Date.now())).toBeLessThan(NEAR_MS)
    await client.close()
  }
}

/** Nothing has been unreferenced for a day, whatever the clock of a node shows. */
async function collectGarbage(daemons: Daemons): Promise<void> {
  for (const node of daemons.nodes) {
    expect(await collect(daemons, node)).toMatchObject({ deleted: 0 })
  }
}

async function collect(daemons: Daemons, node: Daemon): Promise<unknown> {
  return post(daemons, node, 'gc', { wait: true })
}

async function post(daemons: Daemons, { url }: Daemon, path: string, body: object) {
  const answer = await fetch(`${url}/v1/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${daemons.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const said = (await answer.json()) as unknown
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${JSON.stringify(said)}`)
  return said
}

async function readAll(daemons: Daemons, node: Daemon, known: Acknowledged): Promise<void> {
  const client = new BlobClient(node.url, daemons.token)
  await known.checkAll(client)
  await client.close()
}
