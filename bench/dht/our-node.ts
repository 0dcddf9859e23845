import { join } from 'node:path'

import { SYSTEM_CLOCK } from '../../p2p-daemon/clock.ts'
import { RecordDHT } from '../../p2p-daemon/dht/kad-dht.ts'
import { rootKey } from '../../p2p-daemon/dht/keys.ts'
import { Provider } from '../../p2p-daemon/dht/provider.ts'
import { ProviderStore } from '../../p2p-daemon/dht/provider-store.ts'
import { loadNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { encodeRecord } from '../../shared/record/record.ts'
import { createMeshNode, startNode } from '../../test/helpers/mesh.ts'
import { makeRecord } from '../../test/helpers/record.ts'
import { serve, type Command } from './command.ts'

const { DATA_DIR = '', BOOTSTRAP = '' } = process.env
const nodeKey = await loadNodeKey(DATA_DIR)
const bootstrap = BOOTSTRAP === '' ? [] : [BOOTSTRAP]
const parts: { dht?: RecordDHT; provider?: Provider } = {}
const provided = new ProviderStore(join(DATA_DIR, 'provided.db'))
const node = createMeshNode({ name: 'bench', dataDir: DATA_DIR, nodeKey }, { bootstrap }, (it) => {
  const { log, mesh, registry } = it
  const dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed: () => true })
  const components = { mesh, dht, store: provided, log, registry, clock: SYSTEM_CLOCK }
  const provider = new Provider(components)
  Object.assign(parts, { dht, provider })
  return [dht]
})
await startNode(node)
const { dht, provider } = parts as Required<typeof parts>

/** One operation; a miss is an error. */
async function run({ op, key }: Command): Promise<void> {
  const name = `bzzz://bench@bench/${key}`
  const root = rootKey(hashBytes(Buffer.from(key)))
  if (op === 'put') {
    return dht.putRecord(name, encodeRecord(makeRecord({ address: name }, nodeKey)))
  }
  if (op === 'get' && (await dht.getRecord(name))) return undefined
  if (op === 'provide') {
    // As the provider does it, but waited for: a peer that is asked looks here first.
    provided.add(root)
    return dht.provide(root)
  }
  if (op === 'find') for await (const _peerId of provider.findProviders(root)) return undefined
  throw new Error(`${op} of ${key} found nothing.`)
}

serve(run, { peers: () => dht.routingTablePeers() })
const [address = ''] = node.mesh.addresses()
process.send?.({ address: address.replace(/\/p2p\/.*/, '') })
