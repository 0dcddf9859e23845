import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import { describe, expect, it } from 'vitest'

const url = (path: string): string => new URL(`../../../${path}`, import.meta.url).href

/** A process with two nodes that do a little of everything and are then stopped. */
const PROGRAM = `
  const { startCluster } = await import('${url('test/helpers/mesh.ts')}')
  const { RecordDHT } = await import('${url('p2p-daemon/dht/kad-dht.ts')}')
  const { MemoryStore } = await import('${url('p2p-daemon/store/memory-store.ts')}')
  const { StreamTransfer } = await import('${url('p2p-daemon/transfer/stream-transfer.ts')}')
  const store = new MemoryStore()
  const { hash } = await store.put(Buffer.alloc(3 * 1024 * 1024))
  const cluster = await startCluster({
    names: ['walnut', 'ironwood'],
    attach: (node) => [
      (node.dht = new RecordDHT(node, { isAuthorAllowed: () => true })),
      (node.transfer = new StreamTransfer({ ...node, store })),
    ],
  })
  const [walnut, ironwood] = cluster.nodes
  await walnut.dht.provide('root/' + hash)
  for await (const chunk of (await ironwood.transfer.fetch(walnut.nodeKey.peerId, hash)).body) chunk
  // One that nobody reads must not keep the process either.
  await ironwood.transfer.fetch(walnut.nodeKey.peerId, hash)
  await cluster.stop()
  process.on('exit', () => console.log('left by itself'))
  setTimeout(() => {
    console.log('still open: ' + process.getActiveResourcesInfo().join(', '))
    process.exit()
  }, 8000).unref()
`

describe('a node', () => {
  it('leaves nothing open behind it, so that the process ends', async () => {
    const run = promisify(execFile)
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', PROGRAM])
    expect(stdout.trim()).toBe('left by itself')
  })
})
