import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { gossipsub } from '@libp2p/gossipsub'
import { describe, expect, it } from 'vitest'

import { createHost, type ServiceFactory } from '../../p2p-daemon/mesh/host.ts'
import { createNAT } from '../../p2p-daemon/mesh/nat.ts'
import { createNodeKey } from '../../p2p-daemon/mesh/node-key.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const PAGE = readFileSync(join(ROOT, 'docs/PROTOCOL.md'), 'utf8')

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(ROOT, folder, name), 'utf8'))
}

describe('docs/PROTOCOL.md', () => {
  it('names every protocol of our own', () => {
    const ids = sources('p2p-daemon').flatMap(
      (text) => text.match(/\/bzzz\/[a-z-]+\/\d[\d.]*/g) ?? [],
    )
    expect(new Set(ids).size).toBeGreaterThan(10)
    expect([...new Set(ids)].filter((id) => !PAGE.includes(`\`${id}\``))).toEqual([])
  })

  it("names every protocol of libp2p's that a node with all switches on answers to", async () => {
    const nat = createNAT({ autonat: true, upnp: false, relay: 'both', holePunch: true })
    const host = await createHost({
      nodeKey: createNodeKey(),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      announce: [],
      connectionGater: {},
      services: new Map([['gossip', gossipsub({ fallbackToFloodsub: false }) as ServiceFactory]]),
      nat,
    })
    await host.start()
    const ids = host.getProtocols()
    await host.stop()
    expect(ids).toContain('/libp2p/circuit/relay/0.2.0/hop')
    expect(ids).toContain('/meshsub/1.2.0')
    expect(ids.filter((id) => !PAGE.includes(`\`${id}\``))).toEqual([])
  })
})
