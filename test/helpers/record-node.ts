import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createSilentLogger } from '../../shared/log/log.ts'
import { signRecord, type AddressRecord } from '../../shared/record/record.ts'
import { SYSTEM_CLOCK } from '../../p2p-daemon/clock.ts'
import { createNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { OWNERSHIP_NAME } from '../../p2p-daemon/ownership/constants.ts'
import { OwnershipWatch } from '../../p2p-daemon/ownership/ownership-watch.ts'
import { Ownership } from '../../p2p-daemon/ownership/ownership.ts'
import { RecordCoordinator } from '../../p2p-daemon/records/record-coordinator.ts'
import { RecordLookup } from '../../p2p-daemon/records/record-lookup.ts'
import { RecordPeers } from '../../p2p-daemon/records/record-peers.ts'
import { RECORD_PROTOCOL } from '../../p2p-daemon/records/record-protocol.ts'
import { RecordSearch } from '../../p2p-daemon/records/record-search.ts'
import { createRecordServer } from '../../p2p-daemon/records/record-server.ts'
import { RecordService } from '../../p2p-daemon/records/record-service.ts'
import { RecordStore } from '../../p2p-daemon/records/record-store.ts'
import { RecordSync } from '../../p2p-daemon/records/record-sync.ts'
import { MemoryStore } from '../../p2p-daemon/store/memory-store.ts'
import type { MemoryMesh, MemoryNetwork } from './memory-mesh.ts'

export interface RecordNode {
  peerId: string
  mesh: MemoryMesh
  store: RecordStore
  lookup: RecordLookup
  service: RecordService
  sync: RecordSync
  ownership: Ownership
  /** Not started: a test says when it looks. */
  watch: OwnershipWatch
  /** Why records were refused, in order. */
  refused: readonly string[]
  blobs: MemoryStore
  search: RecordSearch
  /** A record signed by this node with `author` put in. */
  sign(fields: Omit<AddressRecord, 'signature'>, author: string): AddressRecord
  close(): Promise<void>
}

/** The records part of one node, whole, on a network in memory; the DHT finds nothing. */
export async function startRecordNode(
  network: MemoryNetwork,
  /** Where the policy is read; default: what this node has been given. */
  contents?: MemoryStore,
): Promise<RecordNode> {
  const { peerId, signingKey } = createNodeKey()
  const dir = mkdtempSync(join(tmpdir(), 'bzzz-records-'))
  const log = createSilentLogger()
  const store = new RecordStore(join(dir, 'records.db'))
  const blobs = new MemoryStore()
  await blobs.start()
  const mesh = network.join(peerId)
  const peers = new RecordPeers({ mesh })
  const ownership = await Ownership.load(join(dir, 'ownership.json'))
  const dht = { getRecord: () => Promise.resolve(undefined) }
  const refused: string[] = []
  const onRefused = (reason: string): void => void refused.push(reason)
  const onRecord = (record: AddressRecord): void => {
    if (record.merged) sync.fetchMerged()
    if (record.address === OWNERSHIP_NAME) watch.wake()
  }
  const lookup = new RecordLookup(
    { store, peers, dht, ownership, onRecord, onRefused },
    { selfId: peerId },
  )
  const coordinator = new RecordCoordinator(
    { store, blobs, peers, lookup, onRecord },
    { selfId: peerId },
  )
  const service = new RecordService(
    { store, blobs, peers, lookup, coordinator, ownership },
    { author: peerId, privateKey: signingKey },
  )
  const isMember = (): boolean => true
  const server = createRecordServer({ store, coordinator, isMember, ownership, onRefused })
  mesh.handle(RECORD_PROTOCOL, server)
  const sync: RecordSync = new RecordSync({ mesh, store, peers, lookup, log })
  const watch: OwnershipWatch = new OwnershipWatch({
    ...{ ownership, mesh, lookup, records: store, log, clock: SYSTEM_CLOCK },
    blobs: contents ?? blobs,
  })
  await sync.start()
  return {
    peerId,
    mesh,
    store,
    lookup,
    service,
    sync,
    ownership,
    watch,
    refused,
    blobs,
    search: new RecordSearch({ store, peers, lookup, ownership }),
    sign: (fields, author) => signRecord({ ...fields, author }, signingKey),
    close: async () => {
      await sync.stop()
      store.close()
      rmSync(dir, { recursive: true })
    },
  }
}
