import type { OpenDatabase } from '../../shared/db/database.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { compareRecords, type AddressRecord } from '../../shared/record/record.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { DHT } from '../dht/dht.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { NodeKey } from '../mesh/node-key.ts'
import { OWNERSHIP_NAME } from '../ownership/constants.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { CLOCK_STEP_MS_MAX, type Clock } from '../clock.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { BACKGROUND_MAX } from './constants.ts'
import { RecordAnnouncer } from './record-announcer.ts'
import { RecordCoordinator } from './record-coordinator.ts'
import { RecordLookup } from './record-lookup.ts'
import { createRecordMetrics } from './record-metrics.ts'
import { RecordPeers } from './record-peers.ts'
import { RECORD_PROTOCOL } from './record-protocol.ts'
import { RecordSearch } from './record-search.ts'
import { createRecordServer } from './record-server.ts'
import { RecordService } from './record-service.ts'
import { RecordStore } from './record-store.ts'
import { RecordSync } from './record-sync.ts'
import { SearchIndex } from './search-index.ts'

export interface RecordsComponents {
  mesh: Mesh
  dht: Pick<DHT, 'getRecord' | 'putRecord'>
  /** Where records are kept as blobs. */
  blobs: Pick<BlobStore, 'put'>
  isMember: (peerId: string) => boolean
  database: OpenDatabase | undefined
  ownership: Ownership
  /** Told when the policy has a new version. */
  onPolicy: () => void
  /** Told of every record that is new here. */
  onRecord?: (record: AddressRecord) => void
  log: Logger
  registry: Registry
  clock: Clock
}

/** Everything a node does with records, wired; `parts` are started in order. */
export function composeRecords(
  components: RecordsComponents,
  init: { recordsFile: string; nodeKey: Pick<NodeKey, 'peerId' | 'signingKey'> },
) {
  const { mesh, dht, blobs, isMember, database, ownership, onPolicy, log, registry, clock } =
    components
  const selfId = init.nodeKey.peerId
  const store = new RecordStore(init.recordsFile)
  const peers = new RecordPeers({ mesh })
  const announcer = new RecordAnnouncer({ dht, store, peers, log }, { selfId })
  const searchIndex =
    database &&
    new SearchIndex({ db: database.db, store, log }, { databaseName: database.description })
  const onRecord = (record: AddressRecord): void => {
    components.onRecord?.(record)
    announcer.announce(record)
    searchIndex?.wake()
    if (record.merged) sync.fetchMerged()
    if (record.address === OWNERSHIP_NAME) onPolicy()
    const aheadMs = record.timestampMs - clock.now()
    if (aheadMs > CLOCK_STEP_MS_MAX) {
      const { author, version } = record
      log.warn({ author, version, aheadMs }, 'record from the future kept, its author is ahead')
    }
  }
  const { onRefused, onRepaired } = createRecordMetrics(registry)
  const lookup = new RecordLookup(
    { store, peers, dht, ownership, onRecord, onRefused, onRepaired },
    { selfId },
  )
  const coordinator = new RecordCoordinator({ store, blobs, peers, lookup, onRecord }, { selfId })
  // A cluster of one has nobody to confirm its time; a laptop that slept goes by the wall.
  const now = (): number => (mesh.expectedPeers().length === 0 ? Date.now() : clock.now())
  const service = new RecordService(
    { store, blobs, peers, lookup, coordinator, ownership, clock: { now } },
    { author: selfId, privateKey: init.nodeKey.signingKey },
  )
  const search = new RecordSearch({ store, peers, lookup, ownership })
  const sync: RecordSync = new RecordSync({ mesh, store, peers, lookup, log })
  const behind = inBackground(log)
  const onStored = (record: AddressRecord, peerId: string): void =>
    behind(() => lookup.learn(record, peerId))
  mesh.handle(
    RECORD_PROTOCOL,
    createRecordServer({ store, coordinator, isMember, ownership, onRefused, onStored }),
  )
  const parts: Startable[] = [announcer, sync, ...(searchIndex ? [searchIndex] : [])]
  /** For the table: what was put there may be newer than what is here, or older. */
  const onTableRecord = (record: AddressRecord): void => {
    const head = store.head(record.address)
    if (head && compareRecords(head, record) < 0) announcer.announce(head)
    behind(() => lookup.onTableRecord(record))
  }
  return { store, lookup, service, search, searchIndex, announcer, onTableRecord, parts }
}

/** Runs what nobody waits for, a bounded number at once; the rest comes by comparing notes. */
function inBackground(log: Logger): (task: () => Promise<void>) => void {
  let running = 0
  return (task) => {
    if (running >= BACKGROUND_MAX) return
    running += 1
    task()
      .catch((error: unknown) => log.debug({ err: error }, 'record not looked into'))
      .finally(() => (running -= 1))
  }
}
