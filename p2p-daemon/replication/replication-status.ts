import { REPLICAS } from '../../shared/limits.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Members } from './members.ts'
import type { Rebalancer, RebalanceProgress } from './rebalancer.ts'
import type { RepairQueue } from './repair-queue.ts'

/** How the copies of one node's blobs stand, as far as it knows. */
export interface ReplicationStatus {
  /** Copies that the nodes they belong on lack. */
  owed: number
  /** Blobs with fewer copies than they should have; all of them while there are too few nodes. */
  underReplicated: number
  /** Copies here that stand in for another node's. */
  handedOff: number
  /** Repairs that run now, that are due, and that wait for a node. */
  repairing: number
  queued: number
  parked: number
  rebalance: RebalanceProgress
  draining: boolean
  /** While draining: blobs not looked at yet and copies still to be made. */
  remaining: number
}

export interface ReplicationStatusComponents {
  store: Pick<BlobStore, 'usage'>
  members: Pick<Members, 'placedCount'>
  queue: Pick<RepairQueue, 'totals'>
  rebalancer: Pick<Rebalancer, 'progress' | 'isSettled'>
  isDraining: () => boolean
}

export async function replicationStatus(
  components: ReplicationStatusComponents,
): Promise<ReplicationStatus> {
  const { store, members, queue, rebalancer, isDraining } = components
  const { blobs } = await store.usage()
  const { running, queued, parked, owed, short, handedOff } = queue.totals()
  const rebalance = rebalancer.progress()
  const scanned = rebalance.state === 'scanning' ? rebalance.scannedBlobs : 0
  // Where nobody takes copies, none of them has been moved.
  const unmoved = members.placedCount === 0 ? blobs : 0
  const unseen = rebalancer.isSettled() ? unmoved : Math.max(1, blobs - scanned)
  return {
    owed,
    underReplicated: members.placedCount < REPLICAS ? blobs : short,
    handedOff,
    repairing: running,
    queued,
    parked,
    rebalance,
    draining: isDraining(),
    remaining: unseen + owed,
  }
}
