import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { AllowList } from '../mesh/allow-list.ts'
import type { Libp2pMesh } from '../mesh/libp2p-mesh.ts'
import type { NodeKey } from '../mesh/node-key.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobTransfer } from './blob-transfer.ts'
import { BulkTransfer } from './bulk-transfer.ts'
import { PreferredTransfer } from './preferred-transfer.ts'
import { StreamTransfer } from './stream-transfer.ts'

export interface TransferComponents {
  log: Logger
  mesh: Libp2pMesh
  allowList: AllowList
  nodeKey: NodeKey
  store: BlobStore
  registry: Registry
}

/** The transfers of a node as one. Made before the mesh starts, started after it. */
export function composeTransfer(
  components: TransferComponents,
  init: {
    host: string
    /** Undefined: the first free one of the range that is set apart for this. */
    bulkPort: number | undefined
  },
): BlobTransfer {
  const stream = new StreamTransfer(components)
  const bulk = new BulkTransfer(components, { host: init.host, port: init.bulkPort })
  return new PreferredTransfer({ ...components, bulk, stream })
}
