import { Revocations } from '../shared/auth/revocations.ts'
import { describeDatabase, openDatabase } from '../shared/db/database.ts'
import { startAll, stopAll, type Startable } from '../shared/lifecycle.ts'
import { createLogger } from '../shared/log/log.ts'
import { createRegistry } from '../shared/metrics/metrics.ts'
import type { Running } from '../shared/process/entry.ts'
import type { AddressRecord } from '../shared/record/record.ts'
import { VERSION } from '../shared/version.ts'
import type { DaemonConfig } from './config.ts'
import { RecordDHT } from './dht/record-dht.ts'
import { HttpServer } from './http/server.ts'
import { createNodeLayout } from './layout.ts'
import { FileAllowList } from './mesh/allow-list.ts'
import { Libp2pMesh } from './mesh/libp2p-mesh.ts'
import { loadNodeKey } from './mesh/node-key.ts'
import { createNodeMetrics } from './node-metrics.ts'
import { RecordAnnouncer } from './records/record-announcer.ts'
import { RecordCoordinator } from './records/record-coordinator.ts'
import { RecordLookup } from './records/record-lookup.ts'
import { RecordPeers } from './records/record-peers.ts'
import { RECORD_PROTOCOL } from './records/record-protocol.ts'
import { createRecordServer } from './records/record-server.ts'
import { RecordService } from './records/record-service.ts'
import { RecordStore } from './records/record-store.ts'
import { RecordSync } from './records/record-sync.ts'
import { SearchIndex } from './records/search-index.ts'
import { OwedLedger } from './replication/owed-ledger.ts'
import { RepairLoop } from './replication/repair-loop.ts'
import { ReplicatedStore } from './replication/replicated-store.ts'
import { REPLICATION_PROTOCOL } from './replication/replication-protocol.ts'
import { Replicator } from './replication/replicator.ts'
import { createStatus } from './status.ts'
import { DiskStore } from './store/disk-store.ts'
import { StreamTransfer } from './transfer/stream-transfer.ts'

/** Composes one node from its parts and starts it. Reads from top to bottom like a table. */
export async function startDaemon(config: DaemonConfig, signal: AbortSignal): Promise<Running> {
  const log = createLogger({ name: 'p2p-daemon', level: config.BZZZ_LOG_LEVEL }).child({
    node: config.BZZZ_NODE_NAME,
  })
  const registry = createRegistry({ component: 'p2p-daemon', version: VERSION })
  const layout = await createNodeLayout(config.BZZZ_DATA_DIR)
  const { dataDir } = layout

  const store = new DiskStore({ log, registry }, { dataDir })
  await store.start({ signal })

  const nodeKey = await loadNodeKey(dataDir)
  const selfId = nodeKey.peerId
  const allowList = new FileAllowList({ log }, { dataDir })
  const mesh = new Libp2pMesh({ log, nodeKey, allowList, registry }, meshInit(config))
  const dht = new RecordDHT({ log, mesh, registry })
  const transfer = new StreamTransfer({ log, mesh, store, registry })

  const ledger = new OwedLedger(layout.ledgerFile)
  const replicator = new Replicator({ mesh, store, transfer })
  mesh.handle(REPLICATION_PROTOCOL, replicator.createServer())
  const blobs = new ReplicatedStore({ store, replicator, ledger, log }, { selfId })
  const repair = new RepairLoop({ mesh, ledger, blobs, log })

  const database = config.DATABASE_URL ? openDatabase(config.DATABASE_URL, { log }) : undefined
  const recordStore = new RecordStore(layout.recordsFile)
  const peers = new RecordPeers({ mesh })
  const onRecord = (record: AddressRecord): void => {
    announcer.announce(record)
    searchIndex?.wake()
  }
  const lookup = new RecordLookup({ store: recordStore, peers, dht, onRecord }, { selfId })
  const coordinator = new RecordCoordinator(
    { store: recordStore, blobs: store, peers, lookup, onRecord },
    { selfId },
  )
  const records = new RecordService(
    { store: recordStore, blobs: store, peers, lookup, coordinator },
    { author: selfId, privateKey: nodeKey.signingKey },
  )
  mesh.handle(RECORD_PROTOCOL, createRecordServer({ store: recordStore, coordinator }))
  const announcer = new RecordAnnouncer({ dht, store: recordStore, log })
  const sync = new RecordSync({ mesh, store: recordStore, peers, lookup, log })
  const searchIndex = database && createSearchIndex(config, { db: database.db, recordStore, log })

  const status = createStatus({ mesh, store, records: recordStore, ledger, searchIndex })
  const metrics = createNodeMetrics({ registry, status })
  const revocations = database && new Revocations({ db: database.db, log })
  const http = new HttpServer(
    {
      log,
      registry,
      revocations,
      routes: {
        blobs,
        records,
        lookup,
        mesh,
        selfId,
        status,
        putBytesMax: config.BZZZ_PUT_BYTES_MAX,
        onResolve: metrics.onResolve,
      },
    },
    {
      host: config.BZZZ_HOST,
      port: config.BZZZ_HTTP_PORT,
      tokenKeysFile: config.BZZZ_TOKEN_KEYS_FILE,
      ready: async () => {
        const { mesh: reach, store: disk } = await status()
        return { ready: true, detail: { mesh: reach, writable: disk.writable } }
      },
    },
  )

  const parts: Startable[] = [
    store,
    closing(() => ledger.close()),
    closing(() => recordStore.close()),
    closing(() => database?.close()),
    mesh,
    dht,
    transfer,
    announcer,
    sync,
    repair,
    ...(searchIndex ? [searchIndex] : []),
    http,
  ]
  await startAll(parts, { signal })
  log.info({ peerId: selfId, port: http.port }, 'node serves')
  return { peerId: selfId, ports: { http: http.port }, stop: () => stopAll(parts) }
}

function meshInit(config: DaemonConfig) {
  return {
    dataDir: config.BZZZ_DATA_DIR,
    listen: [`/ip4/${config.BZZZ_HOST}/tcp/${config.BZZZ_P2P_PORT}`],
    announce: config.BZZZ_ANNOUNCE,
    bootstrap: config.DHT_BOOTSTRAP_NODES,
    nodeInfo: {
      name: config.BZZZ_NODE_NAME,
      version: VERSION,
      roles: config.BZZZ_ROLES,
      storage: config.BZZZ_WEIGHT > 0,
      weight: config.BZZZ_WEIGHT,
      zone: config.BZZZ_ZONE,
      bulkPort: null,
    },
  }
}

function createSearchIndex(
  config: DaemonConfig,
  { db, recordStore, log }: Omit<ConstructorParameters<typeof SearchIndex>[0], 'store'> & {
    recordStore: RecordStore
  },
): SearchIndex {
  const databaseName = describeDatabase(config.DATABASE_URL ?? '')
  return new SearchIndex({ db, store: recordStore, log }, { databaseName })
}

/** Something that is open from its making and only needs to be closed in its turn. */
function closing(close: () => void | Promise<void>): Startable {
  return { start: () => Promise.resolve(), stop: async () => close() }
}
