import { BulkTransfer } from '../../../p2p-daemon/transfer/bulk-transfer.ts'
import { MiB } from '../../../shared/limits.ts'
import { until } from '../../helpers/mesh.ts'
import { startTransferCluster, type TransferCluster } from '../../helpers/transfer-cluster.ts'
import { blobTransferSuite } from '../../suites/blob-transfer.ts'

async function create(): Promise<TransferCluster<BulkTransfer>> {
  const started = await startTransferCluster(
    (node, store) =>
      new BulkTransfer({ ...node, store }, { host: '127.0.0.1', port: 0, stallTimeoutMs: 5_000 }),
  )
  const { mesh } = started.cluster.node('ironwood')
  await until(() => mesh.peer(started.sourceId)?.bulkPort !== null, 'the bulk port to be told')
  return started
}

// Eight ranges asked for, one handed out.
blobTransferSuite('bulk', create, { outstandingBytesMax: 9 * MiB })
