import { createHash } from 'node:crypto'

import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper, type SingleKadDHT } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { create as createDigest } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'

import { serve, type Command } from './command.ts'

/** As long as a record of ours. */
const VALUE = Buffer.from('x'.repeat(480))

/** Bare kad-dht: nothing is checked, nothing around it. */
const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [tls()],
  streamMuxers: [yamux()],
  connectionManager: { inboundConnectionThreshold: 1000, maxIncomingPendingConnections: 1000 },
  services: {
    identify: identify(),
    ping: ping({ maxInboundStreams: 16, maxOutboundStreams: 16 }),
    dht: kadDHT({
      protocol: '/bench/kad/1.0.0',
      clientMode: false,
      peerInfoMapper: passthroughMapper,
      validators: { bench: () => Promise.resolve() },
      selectors: { bench: () => 0 },
    }),
  },
})
const dht = node.services.dht as SingleKadDHT

async function run({ op, key }: Command): Promise<void> {
  const name = Buffer.from(`/bench/${key}`)
  const digest = createDigest(sha256.code, createHash('sha256').update(key).digest())
  const cid = CID.createV1(raw.code, digest)
  if (op === 'dial') return void (await node.dial(multiaddr(key)))
  if (op === 'put') for await (const _event of dht.put(name, VALUE));
  if (op === 'provide') for await (const _event of dht.provide(cid));
  if (op === 'put' || op === 'provide') return
  const events = op === 'get' ? dht.get(name) : dht.findProviders(cid)
  for await (const event of events) {
    if (op === 'get' && event.name === 'VALUE') return
    if (op === 'find' && event.name === 'PROVIDER' && event.providers.length > 0) return
  }
  throw new Error(`${op} of ${key} found nothing.`)
}

serve(run, { peers: () => dht.routingTable.size })
process.send?.({ address: node.getMultiaddrs()[0]?.toString() })
