import { Counter, Gauge, type Registry } from '../../shared/metrics/metrics.ts'
import type { ReplicationStatus } from './replication-status.ts'
import type { RepairReason } from './repair-queue.ts'
import type { RepairResult } from './repair-worker.ts'

export interface ReplicationMetrics {
  repair: (reason: RepairReason, result: RepairResult) => void
  repairBytes: (bytes: number) => void
}

export function createReplicationMetrics(components: {
  registry: Registry
  status: () => Promise<ReplicationStatus>
}): ReplicationMetrics {
  const { registry, status } = components
  const registers = [registry]
  const gauge = (name: string, help: string, read: (status: ReplicationStatus) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(read(await status()))
      },
    })
  }
  gauge(
    'bzzz_blob_under_replicated',
    'Blobs of this node that have fewer copies than they should',
    (now) => now.underReplicated,
  )
  gauge('bzzz_blob_copies_owed', 'Copies that the nodes they belong on lack', (now) => now.owed)
  gauge(
    'bzzz_blob_handed_off',
    'Copies here that stand in for another node’s',
    (now) => now.handedOff,
  )
  gauge(
    'bzzz_rebalance_left_blobs',
    'Blobs that the running scan has not looked at',
    ({ rebalance }) => Math.max(0, rebalance.totalBlobs - rebalance.scannedBlobs),
  )
  new Gauge({
    name: 'bzzz_repair_jobs',
    help: 'Repairs by state; parked ones wait for a node to come back',
    labelNames: ['state'],
    registers,
    async collect() {
      const { queued, parked, repairing } = await status()
      this.set({ state: 'queued' }, queued)
      this.set({ state: 'parked' }, parked)
      this.set({ state: 'running' }, repairing)
    },
  })
  const repairs = new Counter({
    name: 'bzzz_repairs_total',
    help: 'Looks at blobs that needed one, by why and how they ended',
    labelNames: ['reason', 'result'],
    registers,
  })
  const bytes = new Counter({
    name: 'bzzz_repair_bytes_total',
    help: 'Bytes that repairs moved to or from this node',
    registers,
  })
  return {
    repair: (reason, result) => repairs.inc({ reason, result }),
    repairBytes: (count) => bytes.inc(count),
  }
}
