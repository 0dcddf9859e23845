import { describe, expect, it } from 'vitest'

import { DropGuard } from '../../../p2p-daemon/replication/drop-guard.ts'
import { createReplicaServer } from '../../../p2p-daemon/replication/replica-server.ts'
import {
  encodeMessage,
  type ReplicationRequest,
} from '../../../p2p-daemon/replication/replication-protocol.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'

/** A node that has one blob, and what its store tells of puts while peers ask about it. */
async function ask(op: 'have' | 'keep' | 'hold'): Promise<string[]> {
  const store = new MemoryStore()
  const { hash, sizeBytes } = await store.put(Buffer.from('a copy'))
  const told: string[] = []
  store.watchPuts((each) => told.push(each))
  const server = createReplicaServer({
    store,
    pulls: { pull: () => Promise.resolve({ found: true, moved: false, lacking: [] }) },
    queue: { add: () => Promise.resolve(), addSoon: () => undefined },
    guard: new DropGuard({ promiseMs: 0 }),
    members: { selfId: 'self', holders: () => ['self'], isLive: () => true },
  })
  const request: ReplicationRequest = op === 'hold' ? { op, hash, sizeBytes } : { op, hash }
  const payload = encodeMessage(request)
  const signal = new AbortController().signal
  const answer = Buffer.from(await server({ peerId: 'peer', payload, signal })).toString()
  expect(JSON.parse(answer)).toEqual({ sizeBytes })
  return told.map((each) => (each === hash ? 'told' : each))
}

describe('replica-server', () => {
  it('starts the grace of a copy anew when a peer counts on it from now on', async () => {
    expect(await ask('hold')).toEqual(['told'])
    expect(await ask('keep')).toEqual(['told'])
    expect(await ask('have')).toEqual([])
  })
})
