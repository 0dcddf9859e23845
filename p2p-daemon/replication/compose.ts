import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobTransfer } from '../transfer/blob-transfer.ts'
import { BlobPulls } from './blob-pulls.ts'
import { BlobSettlement } from './blob-settlement.ts'
import { SCAN_RETRY_MS } from './constants.ts'
import { CopyLedger } from './copy-ledger.ts'
import { COPIES_PROTOCOL } from './copy-protocol.ts'
import { CopyPushes } from './copy-pushes.ts'
import type { CorruptReports } from './corrupt-reports.ts'
import { DropGuard } from './drop-guard.ts'
import { LedgerDatabase } from './ledger-database.ts'
import { Members } from './members.ts'
import { Rebalancer, type RebalancerInit } from './rebalancer.ts'
import { RepairQueue, type RepairReason } from './repair-queue.ts'
import { RepairWorker, type RepairWorkerInit } from './repair-worker.ts'
import { ReplicaClient } from './replica-client.ts'
import { createCopyServer, createReplicaServer } from './replica-server.ts'
import { ReplicatedStore, type ReplicatedStoreInit } from './replicated-store.ts'
import { createReplicationMetrics } from './replication-metrics.ts'
import { REPLICATION_PROTOCOL } from './replication-protocol.ts'
import { replicationStatus } from './replication-status.ts'
import { TokenBucket } from './token-bucket.ts'

export interface ReplicationComponents {
  mesh: Mesh
  store: BlobStore
  transfer: Pick<BlobTransfer, 'fetch'>
  log: Logger
  registry?: Registry
  corrupt?: CorruptReports
  /** False while garbage is collected or a backup runs. */
  canDrop?: () => boolean
  /** The last collection found that nothing refers to the blob. */
  isGarbage?: (hash: string) => boolean
  isDraining?: () => boolean
  /** Who announced a root in the table. */
  findProviders?: (hash: string, signal: AbortSignal) => AsyncIterable<string>
}

/** Times that are not configured are for tests, which have none to spare. */
export interface ReplicationInit extends ReplicatedStoreInit, RepairWorkerInit, RebalancerInit {
  ledgerFile: string
  awayGraceMs: number
  repairBytesPerSecond: number
  membersTickMs?: number
  hedgeDelayMs?: number
  promiseMs?: number
  dropRetryMs?: number
  flushMs?: number
}

/** Everything a node does to keep copies, wired; `parts` are started in order. */
export function composeReplication(components: ReplicationComponents, init: ReplicationInit) {
  const { mesh, store, transfer, log, registry = new Registry(), corrupt } = components
  const { canDrop = () => true, isDraining = () => false } = components
  const { isGarbage = () => false } = components
  const db = new LedgerDatabase(init.ledgerFile)
  const copies = new CopyLedger(db)
  const queue = new RepairQueue(db, some({ flushMs: init.flushMs }))
  const members = new Members(
    { mesh, copies, log },
    { awayGraceMs: init.awayGraceMs, ...some({ tickMs: init.membersTickMs }) },
  )
  const patience = some({ receiveBaseTimeoutMs: init.ackTimeoutMs })
  const client = new ReplicaClient({ mesh }, patience)
  const copyPushes = new CopyPushes({ mesh }, patience)
  const pulls = new BlobPulls(
    { mesh, store, transfer, members, ...some({ findProviders: components.findProviders }) },
    some({ hedgeDelayMs: init.hedgeDelayMs }),
  )
  const guard = new DropGuard(some({ promiseMs: init.promiseMs }))
  const bucket = new TokenBucket({ bytesPerSecond: init.repairBytesPerSecond })
  const blobs = new ReplicatedStore(
    { store, members, client, copyPushes, pulls, queue, copies, log },
    init,
  )
  const rebalancer = new Rebalancer(
    { db, store, members, client, copies, queue, log, isDraining, isGarbage },
    init,
  )
  const status = () => replicationStatus({ store, members, queue, rebalancer, isDraining })
  const metrics = createReplicationMetrics({ registry, status })
  const settlement = new BlobSettlement(
    { store, members, client, pulls, copies, guard, bucket, log, canDrop },
    {
      dropRetryMs: init.dropRetryMs ?? SCAN_RETRY_MS,
      onBytes: metrics.repairBytes,
      ...some({ promiseMs: init.promiseMs }),
    },
  )
  const worker = new RepairWorker({ queue, settlement, log, onRepair: metrics.repair }, init)
  const delay = some({ stragglerDelayMs: init.stragglerDelayMs })
  mesh.handle(
    REPLICATION_PROTOCOL,
    createReplicaServer({ store, pulls, queue, guard, members, ...delay }),
  )
  mesh.handle(COPIES_PROTOCOL, createCopyServer({ store, queue, members, ...delay }))
  members.onChange(() => queue.release())
  members.onReturn((peerId) => queue.release(peerId))
  /** Asks for a look at one blob; its copy here was found bad or missing. */
  const repair = (hash: string, reason: RepairReason): void =>
    queue.addSoon({ hash, sizeBytes: 0, reason, missing: 1, short: 1 })
  corrupt?.listen((hash) => repair(hash, 'corrupt'))
  const close = (): void => {
    queue.flush()
    copies.flush()
    db.close()
  }
  const parts: Startable[] = [members, blobs, worker, rebalancer]
  return {
    blobs,
    members,
    copies,
    queue,
    worker,
    rebalancer,
    repair,
    status,
    /** There was no ledger: what this node held before, if anything, only the others know. */
    forgetful: db.created,
    close,
    parts,
  }
}

/** Without the fields that are undefined: a default stands for them. */
function some<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
