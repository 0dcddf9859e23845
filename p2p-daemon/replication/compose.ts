import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobTransfer } from '../transfer/blob-transfer.ts'
import { OwedLedger } from './owed-ledger.ts'
import { RepairLoop } from './repair-loop.ts'
import { ReplicatedStore } from './replicated-store.ts'
import { REPLICATION_PROTOCOL } from './replication-protocol.ts'
import { Replicator } from './replicator.ts'

export interface ReplicationComponents {
  mesh: Mesh
  store: BlobStore
  transfer: Pick<BlobTransfer, 'fetch'>
  log: Logger
}

/** Everything a node does to keep copies, wired; `parts` are started in order. */
export function composeReplication(
  { mesh, store, transfer, log }: ReplicationComponents,
  init: { ledgerFile: string },
) {
  const ledger = new OwedLedger(init.ledgerFile)
  const replicator = new Replicator({ mesh, store, transfer })
  const blobs = new ReplicatedStore(
    { store, replicator, ledger, log },
    { selfId: mesh.self.peerId },
  )
  const repair = new RepairLoop({ mesh, ledger, blobs, log })
  mesh.handle(REPLICATION_PROTOCOL, replicator.createServer())
  const parts: Startable[] = [repair]
  return { ledger, blobs, parts }
}
