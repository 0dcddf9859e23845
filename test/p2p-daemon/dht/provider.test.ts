import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { SYSTEM_CLOCK } from '../../../p2p-daemon/clock.ts'
import { RecordDHT } from '../../../p2p-daemon/dht/kad-dht.ts'
import { capabilityKey, rootKey, type ProviderKey } from '../../../p2p-daemon/dht/keys.ts'
import { Provider } from '../../../p2p-daemon/dht/provider.ts'
import { ProviderStore } from '../../../p2p-daemon/dht/provider-store.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { startCluster, until, type TestCluster, type TestNode } from '../../helpers/mesh.ts'

interface Parts {
  dht: RecordDHT
  provider: Provider
  store: ProviderStore
}

const parts = new Map<string, Parts>()
let cluster: TestCluster

function attach(node: TestNode) {
  const { name, log, mesh, registry, dataDir } = node
  const dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed: () => true })
  const store = new ProviderStore(join(dataDir, 'provided.db'))
  const provider = new Provider({ mesh, dht, store, log, registry, clock: SYSTEM_CLOCK })
  parts.set(name, { dht, provider, store })
  const closing = { start: () => Promise.resolve(), stop: async () => store.close() }
  return [closing, dht, provider]
}

beforeAll(async () => {
  cluster = await startCluster({ names: ['walnut', 'ironwood', 'acacia'], attach })
  for (const { dht } of parts.values()) {
    await until(() => dht.routingTablePeers() === 2, 'a full routing table')
  }
})
afterAll(() => cluster.stop())

const of = (name: string): Parts => parts.get(name)!
const idOf = (name: string): string => cluster.node(name).nodeKey.peerId

async function found(name: string, key: ProviderKey): Promise<string[]> {
  const peerIds: string[] = []
  for await (const peerId of of(name).provider.findProviders(key)) peerIds.push(peerId)
  return peerIds.toSorted()
}

async function counter(name: string, line: RegExp): Promise<number> {
  return Number(line.exec(await cluster.node(name).registry.metrics())?.[1] ?? 0)
}

describe('provider', () => {
  it('lets every other node find a root and a capability, in the table too', async () => {
    const root = rootKey(hashBytes(Buffer.from('a root')))
    const skill = capabilityKey('model/llama')
    for (const key of [root, skill]) {
      expect(of('walnut').provider.provide(key)).toBe(true)
      expect(of('ironwood').provider.provide(key)).toBe(true)
      expect(await found('acacia', key)).toEqual([idOf('walnut'), idOf('ironwood')].toSorted())
      expect(await found('walnut', key)).toEqual([idOf('ironwood')])
      // And kad-dht by itself, once it was announced.
      await until(() => of('acacia').dht.providersHere(key).length === 2, 'both announcements')
    }
  })

  it('finds nobody for what nobody provides', async () => {
    expect(await found('walnut', capabilityKey('skill/none'))).toEqual([])
    const none = /bzzz_provider_lookups_total\{road="none"\} (\d+)/
    expect(await counter('walnut', none)).toBeGreaterThan(0)
  })

  it('is forgotten everywhere when it is withdrawn', async () => {
    const key = capabilityKey('skill/short')
    of('walnut').provider.provide(key)
    for (const name of ['ironwood', 'acacia']) {
      await until(() => of(name).dht.providersHere(key).length === 1, 'the announcement')
    }
    of('walnut').provider.withdraw(key)
    for (const name of ['ironwood', 'acacia']) {
      await until(() => of(name).dht.providersHere(key).length === 0, 'the withdrawal')
      expect(await found(name, key)).toEqual([])
    }
    expect(of('walnut').provider.provides(key)).toBe(false)
  })

  it('takes nobody off the table but who asks for it', async () => {
    const key = capabilityKey('skill/kept')
    of('walnut').provider.provide(key)
    await until(() => of('acacia').dht.providersHere(key).length === 1, 'the announcement')
    of('ironwood').provider.provide(key)
    of('ironwood').provider.withdraw(key)
    const withdrawn = /bzzz_provider_withdrawals_total (\d+)/
    await until(async () => (await counter('ironwood', withdrawn)) > 0, 'the withdrawal')
    expect(of('acacia').dht.providersHere(key)).toContain(idOf('walnut'))
  })

  it('announces again after a restart what the table has forgotten', async () => {
    const key = capabilityKey('skill/again')
    const { provider, store, dht } = of('walnut')
    provider.provide(key)
    await until(() => of('acacia').dht.providersHere(key).length === 1, 'the announcement')
    await provider.stop()
    for (const name of ['ironwood', 'acacia']) of(name).dht.withdraw(key, idOf('walnut'))
    const { mesh, log } = cluster.node('walnut')
    const handle = (): void => undefined
    const next = new Provider({
      mesh: {
        self: mesh.self,
        handle,
        on: () => undefined,
        peers: () => mesh.peers(),
        expectedPeers: () => mesh.expectedPeers(),
        request: (...args) => mesh.request(...args),
      },
      dht,
      store,
      log,
      registry: new Registry(),
      clock: SYSTEM_CLOCK,
    })
    await next.start()
    await until(() => of('acacia').dht.providersHere(key).length === 1, 'the second announcement')
    await next.stop()
    await provider.start()
  })
})
