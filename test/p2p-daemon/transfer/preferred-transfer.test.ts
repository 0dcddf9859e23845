import { randomBytes } from 'node:crypto'

import { afterEach, describe, expect, it } from 'vitest'

import type { Mesh, Peer } from '../../../p2p-daemon/mesh/mesh.ts'
import type {
  BlobTransfer,
  FetchOptions,
  RemoteBlob,
} from '../../../p2p-daemon/transfer/blob-transfer.ts'
import { BulkTransfer } from '../../../p2p-daemon/transfer/bulk-transfer.ts'
import { PreferredTransfer } from '../../../p2p-daemon/transfer/preferred-transfer.ts'
import { StreamTransfer } from '../../../p2p-daemon/transfer/stream-transfer.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import {
  BlobNotFoundError,
  PeerUnreachableError,
  ProtocolViolationError,
} from '../../../shared/errors.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { MiB } from '../../../shared/limits.ts'
import { serveRaw } from '../../helpers/bulk.ts'
import { until, type TestNode } from '../../helpers/mesh.ts'
import type { SourceStore } from '../../helpers/source-store.ts'
import { startTransferCluster, type TransferCluster } from '../../helpers/transfer-cluster.ts'
import { blobTransferSuite, collect } from '../../suites/blob-transfer.ts'

/** The bulk ports of nodes, for a test to close one alone. */
const bulks = new Map<TestNode, BulkTransfer>()

function compose(node: TestNode, store: SourceStore): PreferredTransfer {
  const stream = new StreamTransfer({ ...node, store }, { stallTimeoutMs: 5_000 })
  const init = { host: '127.0.0.1', port: 0, stallTimeoutMs: 5_000 }
  const bulk = new BulkTransfer({ ...node, store }, init)
  bulks.set(node, bulk)
  return new PreferredTransfer({ ...node, stream, bulk })
}

async function create(): Promise<TransferCluster<PreferredTransfer>> {
  const started = await startTransferCluster(compose)
  const { mesh } = started.cluster.node('ironwood')
  await until(() => mesh.peer(started.sourceId)?.bulkPort !== null, 'the bulk port to be told')
  return started
}

blobTransferSuite('bulk where it can be', create, { outstandingBytesMax: 9 * MiB })

async function received(node: TestNode, transport: string): Promise<number> {
  const metric = await node.registry.getSingleMetric('bzzz_transfer_bytes_total')?.get()
  const value = metric?.values.find(
    ({ labels }) => labels['transport'] === transport && labels['direction'] === 'received',
  )
  return value?.value ?? 0
}

describe('preferred-transfer, over a mesh', () => {
  const closing: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close()
  })

  it('moves everything over the bulk port when it can', async () => {
    const { cluster, source, sourceId, transfer, dispose } = await create()
    closing.push(dispose)
    const node = cluster.node('ironwood')
    const { hash } = await source.put(randomBytes(3 * MiB))
    await collect(await transfer.fetch(sourceId, hash))
    expect(await received(node, 'bulk')).toBe(3 * MiB)
    expect(await received(node, 'stream')).toBe(0)
    const metrics = await node.registry.metrics()
    expect(metrics).toContain('bzzz_transfer_duration_seconds_count{transport="bulk"} 1')
    expect(metrics).toContain('bzzz_transfer_connections{direction="outbound"} 1')
    const served = await cluster.node('walnut').registry.metrics()
    const sent = `bzzz_transfer_bytes_total{transport="bulk",direction="sent"} ${3 * MiB}`
    expect(served).toContain(sent)
    expect(served).toContain('bzzz_transfer_connections{direction="inbound"} 1')
  })

  it('takes a stream when the port that was told is closed', async () => {
    const { cluster, source, sourceId, transfer, dispose } = await create()
    closing.push(dispose)
    const node = cluster.node('ironwood')
    const gone = await serveRaw(cluster.node('walnut').nodeKey, () => undefined)
    await gone.close()
    cluster.node('walnut').mesh.update({ bulkPort: gone.port })
    await until(() => node.mesh.peer(sourceId)?.bulkPort === gone.port, 'the port to be told')
    const bytes = randomBytes(2 * MiB)
    const { hash } = await source.put(bytes)
    expect((await collect(await transfer.fetch(sourceId, hash))).equals(bytes)).toBe(true)
    expect(await received(node, 'stream')).toBe(2 * MiB)
    expect(await received(node, 'bulk')).toBe(0)
  })

  it('takes a stream from a peer that has no bulk port', async () => {
    const started = await startTransferCluster<BlobTransfer>((node, store) =>
      node.name === 'walnut' ? new StreamTransfer({ ...node, store }) : compose(node, store),
    )
    closing.push(started.dispose)
    const { source, sourceId, transfer, cluster } = started
    const { hash } = await source.put(randomBytes(1_000))
    await collect(await transfer.fetch(sourceId, hash))
    expect(await received(cluster.node('ironwood'), 'stream')).toBe(1_000)
  })

  it('fetches the rest over a stream when the port dies in the middle', async () => {
    const { cluster, source, sourceId, transfer, dispose } = await create()
    closing.push(dispose)
    const node = cluster.node('ironwood')
    const { large } = source
    const { body } = await transfer.fetch(sourceId, large.hash)
    const chunks: Uint8Array[] = []
    let cut: Promise<void> | undefined
    for await (const chunk of body) {
      chunks.push(Buffer.from(chunk))
      cut ??= bulks.get(cluster.node('walnut'))?.stop()
    }
    await cut
    expect(hashBytes(Buffer.concat(chunks))).toBe(large.hash)
    expect(await received(node, 'bulk')).toBeGreaterThan(0)
    expect(await received(node, 'stream')).toBeGreaterThan(0)
  })
})

/** A transfer whose every fetch is answered by the test. */
class ScriptedTransfer implements BlobTransfer {
  readonly starts: number[] = []
  answer: (start: number) => RemoteBlob = () => {
    throw new Error('Nothing is scripted.')
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async fetch(_peerId: string, _hash: string, options: FetchOptions = {}): Promise<RemoteBlob> {
    this.starts.push(options.start ?? 0)
    return this.answer(options.start ?? 0)
  }
}

const WHOLE = Buffer.from('0123456789')

/** The rest of WHOLE from `start`, a byte at a time, until `failAt`. */
function bytesFrom(start: number, failAt = WHOLE.length, error?: Error): RemoteBlob {
  const body = (async function* () {
    for (let at = start; at < failAt; at += 1) yield WHOLE.subarray(at, at + 1)
    if (error) throw error
  })()
  return { hash: 'ab'.repeat(32), sizeBytes: WHOLE.length, body }
}

describe('preferred-transfer, choosing', () => {
  const gone = () => new PeerUnreachableError('gone')

  function createChoice(init: { portRetryMs?: number } = {}) {
    const bulk = new ScriptedTransfer()
    const stream = new ScriptedTransfer()
    stream.answer = (start) => bytesFrom(start)
    const peer = { peerId: 'peer', bulkPort: 9200 as number | null } as Peer
    const listeners = { join: new Set<(p: Peer) => void>(), leave: new Set<(p: Peer) => void>() }
    const mesh: Pick<Mesh, 'peer' | 'on'> = {
      peer: () => peer,
      on: (event, listener) => void listeners[event].add(listener),
    }
    const registry = new Registry()
    const transfer = new PreferredTransfer(
      { bulk, stream, mesh, registry, log: createSilentLogger() },
      init,
    )
    const fetch = async (start = 0): Promise<string> => {
      const remote = await transfer.fetch('peer', 'ab'.repeat(32), { start })
      return (await collect(remote)).toString()
    }
    const emit = (event: 'join' | 'leave') => {
      for (const listener of listeners[event]) listener(peer)
    }
    return { bulk, stream, transfer, peer, fetch, emit, registry }
  }

  it('leaves a port that failed alone', async () => {
    const { bulk, stream, fetch, registry } = createChoice()
    bulk.answer = () => {
      throw gone()
    }
    expect(await fetch()).toBe('0123456789')
    expect(await fetch(4)).toBe('456789')
    expect(bulk.starts).toEqual([0])
    expect(stream.starts).toEqual([0, 4])
    expect(await registry.metrics()).toContain('bzzz_transfer_fallbacks_total 1')
  })

  it.each(['join', 'leave'] as const)('tries a port again after %s', async (event) => {
    const { bulk, fetch, emit } = createChoice()
    bulk.answer = () => {
      throw gone()
    }
    await fetch()
    emit(event)
    bulk.answer = (start) => bytesFrom(start)
    expect(await fetch()).toBe('0123456789')
    expect(bulk.starts).toEqual([0, 0])
  })

  it('tries another port at once', async () => {
    const { bulk, stream, fetch, peer } = createChoice()
    bulk.answer = () => {
      throw gone()
    }
    await fetch()
    peer.bulkPort = 9201
    bulk.answer = (start) => bytesFrom(start)
    await fetch()
    expect(bulk.starts).toEqual([0, 0])
    expect(stream.starts).toEqual([0])
  })

  it('tries a port again when its time is over', async () => {
    const { bulk, fetch } = createChoice({ portRetryMs: 0 })
    bulk.answer = () => {
      throw gone()
    }
    await fetch()
    await fetch()
    expect(bulk.starts).toEqual([0, 0])
  })

  it('asks no other way what the peer has answered', async () => {
    const { bulk, stream, fetch } = createChoice()
    for (const error of [new BlobNotFoundError('no'), new ProtocolViolationError('odd')]) {
      bulk.answer = () => {
        throw error
      }
      await expect(fetch()).rejects.toBe(error)
    }
    expect(stream.starts).toEqual([])
  })

  it('goes on where it was, without the port', async () => {
    const { bulk, stream, fetch } = createChoice()
    bulk.answer = (start) => bytesFrom(start, 4, gone())
    expect(await fetch()).toBe('0123456789')
    expect(bulk.starts).toEqual([0])
    expect(stream.starts).toEqual([4])
  })

  it('goes on as long as there is progress, and not for ever', async () => {
    const { bulk, stream, fetch } = createChoice()
    bulk.answer = (start) => bytesFrom(start, 1, gone())
    stream.answer = (start) => bytesFrom(start, Math.min(start + 1, 8), gone())
    await expect(fetch()).rejects.toThrow('gone')
    expect(stream.starts).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 8])
  })

  it('does not take up what failed for another reason', async () => {
    const { bulk, stream, fetch } = createChoice()
    bulk.answer = (start) => bytesFrom(start, 4, new Error('damaged'))
    await expect(fetch()).rejects.toThrow('damaged')
    expect(stream.starts).toEqual([])
  })

  it('does not put two different blobs together', async () => {
    const { bulk, stream, fetch } = createChoice()
    bulk.answer = (start) => bytesFrom(start, 4, gone())
    stream.answer = (start) => ({ ...bytesFrom(start), sizeBytes: 11 })
    await expect(fetch()).rejects.toBeInstanceOf(ProtocolViolationError)
  })

  it('takes nothing up once it has stopped', async () => {
    const { bulk, stream, transfer } = createChoice()
    bulk.answer = (start) => bytesFrom(start, 4, gone())
    const remote = await transfer.fetch('peer', 'ab'.repeat(32))
    await transfer.stop()
    await expect(collect(remote)).rejects.toThrow('gone')
    expect(stream.starts).toEqual([])
  })
})
