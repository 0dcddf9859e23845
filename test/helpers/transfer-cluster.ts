import type { BlobTransfer } from '../../p2p-daemon/transfer/blob-transfer.ts'
import type { TransferUnderTest } from '../suites/blob-transfer.ts'
import { startCluster, type TestCluster, type TestNode } from './mesh.ts'
import { SourceStore } from './source-store.ts'

export interface TransferCluster<Transfer extends BlobTransfer> extends TransferUnderTest {
  cluster: TestCluster
  /** The transfer of the node that has the blobs. */
  serving: Transfer
  transfer: Transfer
}

/** Two nodes that are connected, walnut with blobs and ironwood that fetches them. */
export async function startTransferCluster<Transfer extends BlobTransfer>(
  create: (node: TestNode, store: SourceStore) => Transfer,
): Promise<TransferCluster<Transfer>> {
  const source = new SourceStore()
  const transfers = new Map<string, Transfer>()
  const cluster = await startCluster({
    names: ['walnut', 'ironwood'],
    attach: (node) => {
      const transfer = create(node, source)
      transfers.set(node.name, transfer)
      return [transfer]
    },
  })
  const [serving, transfer] = [transfers.get('walnut'), transfers.get('ironwood')]
  if (!serving || !transfer) throw new Error('There are no transfers.')
  return {
    cluster,
    source,
    sourceId: cluster.node('walnut').nodeKey.peerId,
    serving,
    transfer,
    ownId: cluster.node('ironwood').nodeKey.peerId,
    dispose: () => cluster.stop(),
  }
}
