import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { kadDHT, passthroughMapper, type SingleKadDHT } from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { KAD_PROTOCOL } from '../../p2p-daemon/dht/constants.ts'
import { recordKey } from '../../p2p-daemon/dht/keys.ts'
import { NODE_PROTOCOL } from '../../p2p-daemon/mesh/constants.ts'
import { encodeAnnouncement } from '../../p2p-daemon/mesh/node-info.ts'
import { createNodeKey, type NodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { ask } from '../../p2p-daemon/mesh/request-protocol.ts'
import {
  decodeAnswer,
  encodeMessage,
  RECORD_PROTOCOL,
  recordToText,
  type RecordAnswer,
  type RecordRequest,
} from '../../p2p-daemon/records/record-protocol.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { MiB } from '../../shared/limits.ts'
import { encodeRecord, type AddressRecord, type RecordJSON } from '../../shared/record/record.ts'
import { startDaemons, type Daemons } from '../helpers/daemons.ts'
import { until } from '../helpers/mesh.ts'
import { makeRecord } from '../helpers/record.ts'

const ADDRESS = 'bzzz://agent@project/x'
const KAD = 'dht'

const [member, stranger] = [createNodeKey(), createNodeKey()]

let daemons: Daemons
let raw: Libp2p
let daemonId: string
let records: AddressRecord[]

/** A libp2p node that checks nothing and follows no protocol of ours by itself. */
function createRaw(key: NodeKey): Promise<Libp2p> {
  return createLibp2p({
    privateKey: key.privateKey,
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionManager: { reconnectRetries: 0 },
    services: {
      identify: identify(),
      ping: ping(),
      [KAD]: kadDHT({
        protocol: KAD_PROTOCOL,
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        validators: { bzzz: () => Promise.resolve() },
        selectors: { bzzz: () => 0 },
      }),
    },
  })
}

beforeAll(async () => {
  // Two, which with the hostile third are enough for a quorum.
  daemons = await startDaemons(2)
  const honest = daemons.nodes.map(({ peerId, name }) => ({ peerId, name }))
  const peers = [...honest, { peerId: member.peerId, name: 'hostile' }]
  for (const { dataDir } of daemons.nodes) {
    await writeFile(join(dataDir, 'config', 'peers.json'), JSON.stringify({ peers }))
  }
  daemonId = daemons.nodes[0]!.peerId
  raw = await createRaw(member)
  const joined = (): Promise<boolean> =>
    introduce()
      .then(() => true)
      .catch(() => false)
  await until(joined, 'the allow-list to be read')
  records = [await write('one'), await write('two')]
})

afterAll(async () => {
  await raw?.stop()
  await daemons.stop()
})

function address() {
  return multiaddr(`/ip4/127.0.0.1/tcp/${daemons.nodes[0]!.p2pPort}/p2p/${daemonId}`)
}

/** As every node does, so that this one is not hung up on as silent. */
async function introduce(): Promise<void> {
  const node = { peerId: member.peerId, name: 'hostile', version: '2', roles: [], storage: false }
  const announcement = { node: { ...node, weight: 0, zone: 'z', bulkPort: null } }
  const bytes = encodeAnnouncement({ ...announcement, addresses: [], peers: [] })
  await request(NODE_PROTOCOL, bytes)
}

async function request(protocol: string, payload: Uint8Array): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(10_000)
  const stream = await raw.dialProtocol(address(), protocol, { signal })
  return ask(stream, payload, signal)
}

async function say(message: RecordRequest): Promise<RecordAnswer> {
  return decodeAnswer(await request(RECORD_PROTOCOL, encodeMessage(message)))
}

const store = (record: AddressRecord): Promise<RecordAnswer> =>
  say({ op: 'store', record: recordToText(record) })

/** The next version of the address by the API, as the daemon signed it. */
async function write(text: string): Promise<AddressRecord> {
  const [url] = daemons.urls
  const { hash } = (await daemons.getJSON(`${url}/v1/blobs`, {
    method: 'PUT',
    body: text,
  })) as { hash: string }
  const headers = { authorization: `Bearer ${daemons.token}`, 'content-type': 'application/json' }
  const answer = await fetch(`${url}/v1/addresses?address=${ADDRESS}`, {
    method: 'PUT',
    body: JSON.stringify({ hash, mediaType: 'text/plain' }),
    headers,
  })
  const { record } = (await answer.json()) as { record: RecordJSON }
  const { address: name, version, mediaType, previous, author, signature } = record
  const timestampMs = new Date(record.timestamp).getTime()
  const rest = { hash, sizeBytes: record.size, mediaType, previous, author, timestampMs }
  return { address: name, version, ...rest, signature }
}

async function head(): Promise<number> {
  const { record } = (await daemons.getJSON(
    `${daemons.urls[0]}/v1/resolve?address=${ADDRESS}`,
  )) as { record: RecordJSON }
  return record.version
}

async function metric(name: string): Promise<number> {
  const headers = { authorization: `Bearer ${daemons.token}` }
  const text = await (await fetch(`${daemons.urls[0]}/metrics`, { headers })).text()
  const lines = text.split('\n').filter((line) => line.startsWith(name))
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** What kad-dht of this node puts into the daemon's table, checked by nobody here. */
async function putIntoTable(name: string, record: AddressRecord): Promise<void> {
  const kad = raw.services[KAD as never] as SingleKadDHT
  const signal = AbortSignal.timeout(10_000)
  for await (const _event of kad.put(recordKey(name), encodeRecord(record), { signal })) {
    // Whether it is taken is what the metric tells.
  }
}

describe('a member that means harm', () => {
  it('cannot store a forged record, one of a stranger or one that was changed', async () => {
    const [one, two] = records as [AddressRecord, AddressRecord]
    const forged: AddressRecord[] = [
      { ...two, version: 3, hash: hashBytes(Buffer.from('forged')) },
      { ...one, author: member.peerId },
      makeRecord({ address: ADDRESS, version: 3 }, stranger),
      { ...makeRecord({ address: ADDRESS, version: 3 }, member), address: `${ADDRESS}/y` },
    ]
    const before = await metric('bzzz_records_refused_total')
    for (const record of forged) {
      await expect(store(record)).rejects.toMatchObject({ code: 'BZZZ_RECORD_INVALID' })
    }
    expect(await metric('bzzz_records_refused_total')).toBe(before + forged.length)
    expect(await metric(`bzzz_peer_violations_total{protocol="${RECORD_PROTOCOL}"}`)).toBe(
      forged.length,
    )
    expect(await head()).toBe(2)
  })

  it('cannot bring an old record back', async () => {
    const [one] = records as [AddressRecord]
    expect(await store(one)).toMatchObject({ outcome: 'ok' })
    const commit = await say({ op: 'commit', record: recordToText(one) })
    expect(commit.outcome).toBe('conflict')
    await putIntoTable(ADDRESS, one)
    expect(await head()).toBe(2)
    const history = (await daemons.getJSON(
      `${daemons.urls[0]}/v1/addresses?address=${ADDRESS}`,
    )) as { records: RecordJSON[] }
    expect(history.records.map(({ version }) => version)).toEqual([2, 1])
  })

  it('cannot put a forged record, or one under the key of another, into the table', async () => {
    const [, two] = records as [AddressRecord, AddressRecord]
    const other = 'bzzz://agent@project/other'
    const forged = { ...two, version: 9 }
    const kad = raw.services[KAD as never] as SingleKadDHT
    await until(() => kad.routingTable.size > 0, 'the daemon in the routing table')
    const refused = 'bzzz_dht_records_refused_total'
    for (const [name, record] of [[ADDRESS, forged] as const, [other, two] as const]) {
      const before = await metric(refused)
      await putIntoTable(name, record)
      await until(async () => (await metric(refused)) > before, 'the refusal')
    }
    expect(await head()).toBe(2)
    const lookup = daemons.getJSON(`${daemons.urls[0]}/v1/resolve?address=${other}`)
    await expect(lookup).rejects.toThrow('404')
  })

  it('gets nowhere with a mebibyte of garbage on every protocol there is', async () => {
    const { protocols } = await raw.peerStore.get(peerIdFromString(daemonId))
    const ours = protocols.filter((protocol) => protocol.startsWith('/bzzz/'))
    expect(ours.length).toBeGreaterThan(8)
    expect(protocols).toContain(KAD_PROTOCOL)
    const garbage = randomBytes(MiB)
    for (const protocol of protocols) {
      const signal = AbortSignal.timeout(10_000)
      if (!raw.getConnections().some(({ status }) => status === 'open')) {
        await raw.dial(address())
        await introduce()
      }
      try {
        const stream = await raw.dialProtocol(address(), protocol, { signal })
        for (let at = 0; at < garbage.length && stream.status === 'open'; at += 65_536) {
          if (!stream.send(garbage.subarray(at, at + 65_536))) break
        }
        await stream.close({ signal: AbortSignal.timeout(500) }).catch(() => undefined)
        stream.abort(new Error('enough'))
      } catch (error) {
        // A stream that is refused or reset is what is hoped for.
        expect(error).toBeInstanceOf(Error)
      }
    }
    const requests = ours.filter((protocol) => protocol !== KAD_PROTOCOL)
    for (const protocol of requests) {
      const name = `bzzz_peer_violations_total{protocol="${protocol}"}`
      await until(async () => (await metric(name)) > 0, `${protocol} refused`)
    }
    // It goes on serving people and this very peer.
    expect(await head()).toBe(2)
    expect((await write('three')).version).toBe(3)
    if (!raw.getConnections().some(({ status }) => status === 'open')) {
      await raw.dial(address())
    }
    expect(await say({ op: 'head', name: ADDRESS })).toMatchObject({ outcome: 'ok' })
  })
})

describe('a stranger', () => {
  it('is let in to nothing and counted', async () => {
    const denied = 'bzzz_peer_connects_total{result="denied"}'
    const before = await metric(denied)
    const outside = await createRaw(stranger)
    try {
      const { protocols } = await raw.peerStore.get(peerIdFromString(daemonId))
      for (const protocol of protocols) {
        const signal = AbortSignal.timeout(5_000)
        const opened = outside
          .dialProtocol(address(), protocol, { signal })
          .then(async (stream) => ask(stream, randomBytes(1_000), signal))
        await expect(opened).rejects.toThrow()
      }
      expect(await metric(denied)).toBeGreaterThan(before)
      const { peers } = (await daemons.getJSON(`${daemons.urls[0]}/v1/peers`)) as {
        peers: { peerId: string }[]
      }
      expect(peers.map(({ peerId }) => peerId)).not.toContain(stranger.peerId)
    } finally {
      await outside.stop()
    }
  })
})
