import { randomBytes } from 'node:crypto'

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import type { Peer } from '../../p2p-daemon/mesh/mesh.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { MiB } from '../../shared/limits.ts'
import { createDaemons, type Daemon, type Daemons } from '../helpers/daemons.ts'
import { until } from '../helpers/mesh.ts'
import { Network, whyNoNamespaces, type Namespace } from '../helpers/netns.ts'
import { blobOf } from '../p2p-daemon/store/random.ts'

/** Inside the namespaces these are the internet: libp2p punches holes between public ones only. */
const RELAY = '45.83.1.1'
const PORT = 9101

/** The next attempt to dial a peer that is reached through a relay only comes within 15 s. */
const DIRECT_LIMIT_MS = 120_000

/** Asked for on the way to the relay, and once more inside the connection that it carries. */
const NETWORK_KEY = randomBytes(32).toString('hex')

const missing = await whyNoNamespaces()

let network: Network | undefined
let daemons: Daemons | undefined
const routers = new Map<string, Namespace>()

/**
 * A relay on the internet, and two nodes each behind a router of its own that hides its network:
 * what goes out is given the router's address, and nothing comes in that nobody asked for.
 */
async function layOut(internet: Namespace): Promise<Map<string, Namespace>> {
  const places = new Map<string, Namespace>()
  const relay = await network!.namespace('relay')
  await network!.plug(relay, 'wan', `${RELAY}/24`, internet)
  places.set('node1', relay)
  for (const at of [2, 3]) {
    const router = await network!.bridge(`router${at}`)
    await router.ip('address', 'add', `10.${at}.0.1/24`, 'dev', 'bridge')
    await network!.plug(router, 'wan', `45.83.1.${at}/24`, internet)
    await router.route()
    await router.nft(`table ip nat {
      chain in { type nat hook prerouting priority -100; }
      chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }
    }`)
    await router.nft(`table ip filter { chain pass {
      type filter hook forward priority 0; policy drop;
      iifname "bridge" accept; ct state established,related accept; ct status dnat accept;
    }; }`)
    const node = await network!.namespace(`node${at}`)
    await network!.plug(node, 'lan', `10.${at}.0.2/24`, router)
    await node.ip('route', 'add', 'default', 'via', `10.${at}.0.1`)
    places.set(`node${at}`, node)
    routers.set(`node${at}`, router)
  }
  return places
}

beforeAll(async () => {
  if (missing !== null) return
  network = await Network.create()
  const places = await layOut(await network.bridge('internet'))
  const at = (name: string): number => Number(name.slice(-1))
  daemons = await createDaemons(3, {
    placeOf: (name) => places.get(name)!,
    envOf: (name) => ({
      BZZZ_LISTEN: name === 'node1' ? RELAY : `10.${at(name)}.0.2`,
      BZZZ_P2P_PORT: String(PORT),
      BZZZ_NETWORK_KEY: NETWORK_KEY,
      DHT_BOOTSTRAP_NODES: `${RELAY}:${PORT}`,
      // The relay keeps no blobs: they have to get from one hidden node to the other.
      ...(name === 'node1' ? { BZZZ_WEIGHT: '0' } : {}),
      // Where the routers would let them in, if they did: what a hole is punched with.
      ...(name === 'node1' ? {} : { BZZZ_ANNOUNCE: `/ip4/45.83.1.${at(name)}/tcp/${PORT}` }),
    }),
  })
  await daemons.start()
})

afterAll(async () => {
  await daemons?.stop()
  await network?.[Symbol.asyncDispose]()
})

beforeEach((context) => {
  if (missing !== null) context.skip(missing)
})

async function linkTo(from: Daemon, to: Daemon): Promise<Peer['link'] | undefined> {
  const { peers } = (await daemons!.getJSON(`${from.url}/v1/peers`)) as { peers: Peer[] }
  return peers.find(({ peerId }) => peerId === to.peerId)?.link
}

/** A blob that is acknowledged once both hidden nodes hold it, read at the other one. */
async function moveBlob(seed: number, from: Daemon, to: Daemon): Promise<void> {
  const bytes = blobOf(seed, 8 * MiB)
  const headers = { authorization: `Bearer ${daemons!.token}` }
  const put = { method: 'PUT', body: Buffer.from(bytes), headers }
  let taken: { hash: string; replicas: string[] } | undefined
  // 503 where the link gave way to a better one under the transfer: whoever puts tries again.
  const isTaken = async (): Promise<boolean> => {
    const answer = await fetch(`${from.url}/v1/blobs?ack=all`, put)
    const said: unknown = await answer.json()
    if (answer.ok) taken = said as { hash: string; replicas: string[] }
    else expect(answer.status).toBe(503)
    return answer.ok
  }
  await until(isTaken, 'the blob on both hidden nodes', DIRECT_LIMIT_MS)
  const { hash, replicas } = taken!
  expect(replicas.toSorted()).toEqual([from.peerId, to.peerId].toSorted())
  const held = (await daemons!.getJSON(`${to.url}/v1/blobs`)) as { blobs: { hash: string }[] }
  expect(held.blobs.map((blob) => blob.hash)).toContain(hash)
  const read = await fetch(`${to.url}/v1/blobs/${hash}`, { headers })
  expect(hashBytes(new Uint8Array(await read.arrayBuffer()))).toBe(hash)
}

describe('two nodes behind two NATs, under a network key', () => {
  it('find each other through a relay and move a blob', async () => {
    const [relay, left, right] = daemons!.nodes as [Daemon, Daemon, Daemon]
    // A link that gives way to a better one is away for a moment.
    const reached = async (): Promise<boolean> =>
      (await linkTo(left, relay)) === 'direct' &&
      (await linkTo(right, relay)) === 'direct' &&
      (await linkTo(left, right)) !== undefined &&
      (await linkTo(right, left)) !== undefined
    await until(reached, 'a way from each to each', DIRECT_LIMIT_MS)
    await moveBlob(1, left, right)
    await moveBlob(2, right, left)
    const after = await linkTo(left, right)
    const outcome = after === 'direct' ? 'was reached' : `was not reached, the link is ${after}`
    console.log(`behind two masquerading NATs a direct connection ${outcome}`)
  })

  it('take a direct connection as soon as a router lets it in', async () => {
    const [, left, right] = daemons!.nodes as [Daemon, Daemon, Daemon]
    await routers
      .get('node3')!
      .nft(`add rule ip nat in iifname "wan" tcp dport ${PORT} dnat to 10.3.0.2`)
    const isDirect = async (): Promise<boolean> =>
      (await linkTo(left, right)) === 'direct' && (await linkTo(right, left)) === 'direct'
    await until(isDirect, 'the direct connection', DIRECT_LIMIT_MS)
    console.log('with a port forwarded by one router a direct connection was reached')
    await moveBlob(3, left, right)
    await moveBlob(4, right, left)
  })
})
