import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper, type SingleKadDHT } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

/** Bare kad-dht: no validator that looks, no record store, nothing around it. */
const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [tls()],
  streamMuxers: [yamux()],
  connectionManager: { inboundConnectionThreshold: 1000, maxIncomingPendingConnections: 1000 },
  services: {
    identify: identify(),
    ping: ping(),
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

type Command =
  | { op: 'dial'; address: string }
  | { op: 'put'; key: string; value: string }
  | { op: 'get'; keys: string[] }

async function get(keys: string[]): Promise<number[]> {
  const times: number[] = []
  for (const key of keys) {
    const startedAt = performance.now()
    let found = false
    for await (const event of dht.get(Buffer.from(`/bench/${key}`))) {
      if (event.name !== 'VALUE') continue
      found = true
      break
    }
    if (!found) throw new Error(`The value of ${key} was not found.`)
    times.push(performance.now() - startedAt)
  }
  return times
}

async function run(command: Command): Promise<unknown> {
  if (command.op === 'dial') return void (await node.dial(multiaddr(command.address)))
  if (command.op === 'get') return get(command.keys)
  for await (const event of dht.put(
    Buffer.from(`/bench/${command.key}`),
    Buffer.from(command.value),
  )) {
    void event
  }
  return undefined
}

process.on('message', (command: Command) => {
  run(command).then(
    (result) => process.send?.({ result: result ?? null }),
    (error: Error) => process.send?.({ error: error.message }),
  )
})
process.send?.({ address: node.getMultiaddrs()[0]?.toString() })
process.once('SIGTERM', () => process.exit(0))
