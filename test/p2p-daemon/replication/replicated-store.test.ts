import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { COPIES_PROTOCOL } from '../../../p2p-daemon/replication/copy-protocol.ts'
import { MiB } from '../../../shared/limits.ts'
import { until } from '../../helpers/mesh.ts'
import { ReplicaCluster } from '../../helpers/replica-cluster.ts'

let cluster: ReplicaCluster

beforeEach(() => {
  cluster = new ReplicaCluster()
})
afterEach(() => cluster.dispose())

const put = (peerId: string, bytes: Uint8Array, ack?: '1' | 'quorum' | 'all') =>
  cluster.running(peerId).blobs.put(bytes, ack ? { ack } : {})

/** Bytes whose holders do not include the node, in a cluster of more than three. */
function strangerTo(peerId: string): Buffer {
  for (;;) {
    const bytes = randomBytes(64)
    if (!cluster.holders(peerId, hashBytes(bytes)).includes(peerId)) return bytes
  }
}

function ownOf(...peerIds: string[]): Buffer {
  for (;;) {
    const bytes = randomBytes(64)
    const holders = cluster.holders(peerIds[0]!, hashBytes(bytes))
    if (peerIds.every((peerId) => holders.includes(peerId))) return bytes
  }
}

describe('put', () => {
  it('acknowledges with one in a cluster of one, and says that copies lack', async () => {
    await cluster.addAll(1)
    for (const ack of ['1', 'quorum', 'all'] as const) {
      const result = await put('n0', randomBytes(10), ack)
      expect(result).toMatchObject({ replicas: ['n0'], underReplicated: true })
    }
    const status = await cluster.running('n0').status()
    expect(status).toMatchObject({ owed: 0, underReplicated: 3, queued: 0, parked: 0 })
  })

  it('is on all three when all three are there, and owes nothing', async () => {
    await cluster.addAll(3)
    const { hash, replicas, underReplicated } = await put('n1', randomBytes(100))
    expect([...replicas].toSorted()).toEqual(['n0', 'n1', 'n2'])
    expect(replicas[0]).toBe('n1')
    expect(underReplicated).toBe(false)
    expect(await cluster.copies(hash)).toEqual(['n0', 'n1', 'n2'])
    expect(await cluster.running('n1').status()).toMatchObject({ owed: 0, underReplicated: 0 })
  })

  it('sends small blobs to their holders many in a message, whichever node they belong to', async () => {
    await cluster.addAll(5)
    const { mesh } = cluster.node('n0').process!
    let messages = 0
    const request = mesh.request.bind(mesh)
    mesh.request = (...args) => {
      if (args[1] === COPIES_PROTOCOL) messages += 1
      return request(...args)
    }
    const all = Array.from({ length: 200 }, () => randomBytes(100))
    const results = await Promise.all(all.map((bytes) => put('n0', bytes, 'all')))
    for (const [index, { hash, replicas }] of results.entries()) {
      const holders = cluster.holders('n0', hash)
      expect(replicas).toEqual(expect.arrayContaining(holders))
      expect(await cluster.read(holders.at(-1)!, hash)).toEqual(all[index])
    }
    // One by one they would be 600, and each a pull besides.
    expect(messages).toBeLessThan(100)
  })

  it('waits for no disk but the blob’s when every copy was acknowledged', async () => {
    await cluster.addAll(3)
    const durable: string[] = []
    for (const { peerId } of cluster.live()) {
      const { queue } = cluster.running(peerId)
      const add = queue.add.bind(queue)
      queue.add = (request) => {
        durable.push(request.hash)
        return add(request)
      }
    }
    await Promise.all(Array.from({ length: 20 }, () => put('n0', randomBytes(100))))
    expect(durable).toEqual([])
    await cluster.kill('n2')
    const { hash } = await put('n0', randomBytes(100))
    expect(durable).toEqual([hash])
  })

  it('acknowledges with two of three and owes the third, which gets it on its return', async () => {
    await cluster.addAll(3)
    await cluster.kill('n2')
    const result = await put('n0', randomBytes(100))
    expect([...result.replicas].toSorted()).toEqual(['n0', 'n1'])
    expect(result.underReplicated).toBe(true)
    const status = await cluster.running('n0').status()
    expect(status).toMatchObject({ owed: 1, underReplicated: 1, parked: 1 })
    await cluster.start('n2')
    await cluster.untilCopies(result.hash, () => ['n0', 'n1', 'n2'])
    const settled = async () => (await cluster.running('n0').status()).owed === 0
    await until(settled, 'an empty queue')
  })

  it('keeps what is owed over a kill', async () => {
    await cluster.addAll(3)
    await cluster.kill('n2')
    const { hash } = await put('n0', randomBytes(100))
    await cluster.kill('n0')
    // n1 keeps its copy but knows of no debt, so it must be n0 that pays.
    await cluster.kill('n1')
    await cluster.start('n0')
    await cluster.start('n2')
    await cluster.untilCopies(hash, () => ['n0', 'n1', 'n2'])
  })

  it('acknowledges no put that owes copies while the ledger cannot be written', async () => {
    await cluster.addAll(3)
    const unlock = cluster.lockLedger('n0')
    const whole = await put('n0', randomBytes(100))
    expect(whole.replicas).toHaveLength(3)
    await cluster.kill('n2')
    const bytes = randomBytes(100)
    await expect(put('n0', bytes)).rejects.toMatchObject({ code: 'BZZZ_STORAGE_UNAVAILABLE' })
    // Everything that happens meanwhile finds the disk refusing, and nobody dies of it.
    await cluster.corrupt('n0', whole.hash)
    await cluster.node('n0').store.verify(whole.hash)
    await cluster.start('n2')
    await cluster.add('n3')
    unlock()
    await until(async () => (await cluster.running('n0').status()).owed === 0, 'the repairs')
    for (const hash of [whole.hash, hashBytes(bytes)]) {
      await cluster.untilCopies(hash, () => cluster.holders('n0', hash))
    }
  })

  it('answers 503 when the quorum is not there, at once when that is known', async () => {
    await cluster.dispose()
    cluster = new ReplicaCluster({ ackTimeoutMs: 3_600_000 })
    await cluster.addAll(3)
    await cluster.kill('n1')
    await cluster.kill('n2')
    const bytes = randomBytes(100)
    await expect(put('n0', bytes)).rejects.toMatchObject({ code: 'BZZZ_PARTITION_MINORITY' })
    expect(await cluster.copies(hashBytes(bytes))).toEqual([])
    expect(await put('n0', bytes, '1')).toMatchObject({ existed: false, replicas: ['n0'] })
    await cluster.start('n1')
    await cluster.start('n2')
    await cluster.untilCopies(hashBytes(bytes), () => ['n0', 'n1', 'n2'])
  })

  it('answers 503 after a bounded time when the others take it and say nothing', async () => {
    await cluster.addAll(3)
    cluster.network.stall('n1')
    cluster.network.stall('n2')
    const bytes = randomBytes(100)
    await expect(put('n0', bytes)).rejects.toMatchObject({ code: 'BZZZ_QUORUM_NOT_REACHED' })
    cluster.network.stall('n1', false)
    cluster.network.stall('n2', false)
    await cluster.untilCopies(hashBytes(bytes), () => ['n0', 'n1', 'n2'])
  })

  it('with ack=all is refused when one of three is away, with ack=1 waits for nobody', async () => {
    await cluster.addAll(3)
    cluster.network.stall('n1')
    cluster.network.stall('n2')
    const bytes = randomBytes(100)
    expect((await put('n0', bytes, '1')).replicas).toEqual(['n0'])
    cluster.network.stall('n1', false)
    const all = put('n0', randomBytes(100), 'all')
    await expect(all).rejects.toMatchObject({ code: 'BZZZ_QUORUM_NOT_REACHED' })
  })

  it('does not count a node that takes no copies', async () => {
    await cluster.add('n0')
    await cluster.add('n1', { weight: 0 })
    const result = await put('n0', randomBytes(100), 'all')
    expect(result.replicas).toEqual(['n0'])
  })
})

describe('hand-off', () => {
  it('gives the copy of a node that is away to the next, and back when it returns', async () => {
    await cluster.addAll(5)
    const bytes = ownOf('n0', 'n1')
    const hash = hashBytes(bytes)
    const holders = cluster.holders('n0', hash)
    const away = holders.find((peerId) => peerId !== 'n0')!
    await cluster.kill(away)
    const result = await put('n0', bytes)
    expect(result.underReplicated).toBe(false)
    expect(result.replicas).toHaveLength(3)
    expect(result.replicas).not.toContain(away)
    const standIn = result.replicas.find((peerId) => !holders.includes(peerId))!
    expect(await cluster.running(standIn).status()).toMatchObject({ handedOff: 1, owed: 1 })
    expect(await cluster.running('n0').status()).toMatchObject({ underReplicated: 0, owed: 0 })
    await cluster.start(away)
    await cluster.untilCopies(hash, () => holders)
    await until(async () => (await cluster.running(standIn).status()).handedOff === 0, 'hand-back')
  })

  it('keeps the stand-in while a proper holder cannot confirm', async () => {
    await cluster.addAll(5)
    const bytes = ownOf('n0', 'n1')
    const hash = hashBytes(bytes)
    const holders = cluster.holders('n0', hash)
    const [away, other] = holders.filter((peerId) => peerId !== 'n0') as [string, string]
    await cluster.kill(away)
    const { replicas } = await put('n0', bytes)
    const standIn = replicas.find((peerId) => !holders.includes(peerId))!
    await cluster.kill(other)
    await cluster.start(away)
    const all = [...holders, standIn].toSorted()
    await cluster.untilCopies(hash, () => all)
    await until(
      async () => (await cluster.running(standIn).status()).parked === 1,
      'the stand-in to wait',
    )
    expect(await cluster.copies(hash)).toEqual(all)
    await cluster.start(other)
    await cluster.untilCopies(hash, () => holders)
  })

  it('drops nothing while garbage is collected or a backup runs', async () => {
    await cluster.addAll(4)
    cluster.canDrop = false
    const bytes = strangerTo('n0')
    const { hash } = await put('n0', bytes)
    const tried = async () => (await cluster.running('n0').status()).queued === 1
    await until(tried, 'the drop to be tried')
    expect(await cluster.copies(hash)).toHaveLength(4)
    cluster.canDrop = true
    await cluster.untilCopies(hash, () => cluster.holders('n0', hash))
  })

  it('brings a put through a node that is no holder to the holders, and drops it there', async () => {
    await cluster.addAll(4)
    const bytes = strangerTo('n2')
    const { hash, replicas } = await put('n2', bytes)
    expect(replicas).toHaveLength(4)
    await cluster.untilCopies(hash, () => cluster.holders('n2', hash))
    expect(await cluster.read('n2', hash)).toEqual(bytes)
  })

  it('ends when a holder that was slow has the copy after all', async () => {
    await cluster.addAll(5)
    const bytes = ownOf('n0', 'n1')
    const hash = hashBytes(bytes)
    const holders = cluster.holders('n0', hash)
    const slow = holders.find((peerId) => peerId !== 'n0')!
    const gate = Promise.withResolvers<void>()
    cluster.onFetch = (_from, to) => (to === slow ? gate.promise : Promise.resolve())
    // As a stream, which is pulled: that is what can be slow by itself here.
    const putting = cluster.running('n0').blobs.put(Readable.from([bytes]), { ack: 'all' })
    await until(async () => (await cluster.copies(hash)).length === 3, 'a stand-in')
    expect(await cluster.copies(hash)).not.toContain(slow)
    gate.resolve()
    expect((await putting).underReplicated).toBe(false)
    await cluster.untilCopies(hash, () => holders)
  })
})

describe('read', () => {
  it('finds a blob on whichever node is asked', async () => {
    await cluster.addAll(5)
    const bytes = randomBytes(3 * MiB + 1)
    const { hash } = await put('n0', bytes)
    for (const peerId of cluster.nodes.keys()) {
      expect((await cluster.read(peerId, hash)).equals(bytes)).toBe(true)
      expect(await cluster.running(peerId).blobs.stat(hash)).toEqual({
        hash,
        sizeBytes: bytes.length,
      })
    }
    await cluster.untilCopies(hash, () => cluster.holders('n0', hash))
  })

  it('finds a blob that only a stand-in has', async () => {
    await cluster.addAll(5)
    const bytes = ownOf('n0', 'n1')
    const hash = hashBytes(bytes)
    const holders = cluster.holders('n0', hash)
    const [away, third] = holders.filter((peerId) => peerId !== 'n0') as [string, string]
    await cluster.kill(away)
    const { replicas } = await put('n0', bytes)
    const standIn = replicas.find((peerId) => !holders.includes(peerId))!
    await cluster.kill('n0')
    await cluster.kill(third)
    const reader = cluster.live().find(({ peerId }) => peerId !== standIn)!.peerId
    expect(await cluster.read(reader, hash)).toEqual(bytes)
    expect(await cluster.running(reader).blobs.stat(hash)).toBeDefined()
  })

  it('says not found for what nobody has', async () => {
    await cluster.addAll(3)
    const hash = hashBytes(Buffer.from('never stored'))
    await expect(cluster.read('n0', hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND' })
    expect(await cluster.running('n0').blobs.stat(hash)).toBeUndefined()
  })

  it('reads a replica when the copy here went bad, and repairs it', async () => {
    await cluster.addAll(3)
    const bytes = randomBytes(1000)
    const { hash } = await put('n0', bytes)
    await cluster.corrupt('n0', hash)
    expect(await cluster.read('n0', hash)).toEqual(bytes)
    expect(await cluster.node('n0').store.verify(hash)).toBe(true)
  })

  it('repairs a bad copy that a scrub finds, without anybody reading it', async () => {
    await cluster.addAll(3)
    const { hash } = await put('n0', randomBytes(1000))
    await cluster.corrupt('n0', hash)
    expect(await cluster.node('n0').store.verify(hash)).toBe(false)
    expect(await cluster.copies(hash)).toEqual(['n1', 'n2'])
    await cluster.untilCopies(hash, () => ['n0', 'n1', 'n2'])
    await until(async () => (await cluster.running('n0').status()).owed === 0, 'the end')
    const metrics = await cluster.node('n0').process!.registry.metrics()
    expect(metrics).toContain('bzzz_repairs_total{reason="corrupt",result="repaired"} 1')
    expect(metrics).toContain('bzzz_repair_bytes_total 1000')
  })

  it('makes good what a stand-in owed when its own copy goes bad', async () => {
    await cluster.addAll(5)
    const bytes = strangerTo('n0')
    const hash = hashBytes(bytes)
    const holders = cluster.holders('n0', hash)
    await cluster.kill(holders[0]!)
    await put('n0', bytes)
    await cluster.corrupt('n0', hash)
    expect(await cluster.node('n0').store.verify(hash)).toBe(false)
    await cluster.start(holders[0]!)
    await cluster.untilCopies(hash, () => holders)
  })

  it('gives a holder that lacks the blob its copy back', async () => {
    await cluster.addAll(4)
    const bytes = strangerTo('n0')
    const { hash } = await put('n1', bytes)
    const holders = cluster.holders('n0', hash)
    await cluster.untilCopies(hash, () => holders)
    const [loser] = cluster.running('n0').members.holders(hash)
    await cluster.node(loser!).store.delete(hash)
    expect(await cluster.read('n0', hash)).toEqual(bytes)
    await cluster.untilCopies(hash, () => holders)
  })

  it('does not wait for a holder that is slow to answer', async () => {
    await cluster.addAll(4)
    const bytes = strangerTo('n0')
    const { hash } = await put('n1', bytes)
    await cluster.untilCopies(hash, () => cluster.holders('n0', hash))
    const [first] = cluster.running('n0').members.holders(hash)
    const asked: string[] = []
    const never = Promise.withResolvers<void>()
    cluster.onFetch = (from) => {
      asked.push(from)
      return from === first ? never.promise : Promise.resolve()
    }
    expect(await cluster.read('n0', hash)).toEqual(bytes)
    expect(asked.slice(0, 2)).toEqual(cluster.running('n0').members.holders(hash).slice(0, 2))
    never.resolve()
  })

  it('goes on with another replica when one breaks off in mid-body', async () => {
    await cluster.addAll(4)
    let bytes: Buffer
    do bytes = randomBytes(4 * MiB)
    while (cluster.holders('n0', hashBytes(bytes)).includes('n0'))
    const { hash } = await put('n1', bytes)
    await cluster.untilCopies(hash, () => cluster.holders('n0', hash))
    const [first, second] = cluster.running('n0').members.holders(hash) as [string, string]
    const chunks: string[] = []
    cluster.onChunk = (from) => {
      chunks.push(from)
      if (chunks.length === 3) cluster.network.isolate(first)
    }
    expect((await cluster.read('n0', hash)).equals(bytes)).toBe(true)
    expect(chunks).toEqual([first, first, first, second, second])
  })

  it('shares one pull, which goes on when the reader that began it leaves', async () => {
    await cluster.addAll(4)
    const bytes = strangerTo('n0')
    const { hash } = await put('n1', bytes)
    await cluster.untilCopies(hash, () => cluster.holders('n0', hash))
    const gate = Promise.withResolvers<void>()
    let fetches = 0
    cluster.onFetch = () => {
      fetches += 1
      return gate.promise
    }
    const { blobs } = cluster.running('n0')
    const leaving = new AbortController()
    const first = blobs.get(hash, { signal: leaving.signal })
    await until(() => fetches > 0, 'the pull to begin')
    const second = cluster.read('n0', hash)
    leaving.abort(new Error('left'))
    await expect(first).rejects.toThrow('left')
    gate.resolve()
    expect(await second).toEqual(bytes)
  })

  it('is aborted when nobody waits any more', async () => {
    await cluster.addAll(4)
    const bytes = strangerTo('n0')
    const { hash } = await put('n1', bytes)
    await cluster.untilCopies(hash, () => cluster.holders('n0', hash))
    const gate = Promise.withResolvers<void>()
    let fetches = 0
    cluster.onFetch = () => {
      fetches += 1
      return gate.promise
    }
    const leaving = new AbortController()
    const only = cluster.running('n0').blobs.get(hash, { signal: leaving.signal })
    await until(() => fetches > 0, 'the pull to begin')
    leaving.abort(new Error('left'))
    await expect(only).rejects.toThrow('left')
    gate.resolve()
    expect(await cluster.node('n0').store.stat(hash)).toBeUndefined()
    cluster.onFetch = () => Promise.resolve()
    expect(await cluster.read('n0', hash)).toEqual(bytes)
  })
})
