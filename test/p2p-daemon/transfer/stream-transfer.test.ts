import { describe, expect, it } from 'vitest'

import { framed } from '../../../p2p-daemon/mesh/framing.ts'
import { BLOB_PROTOCOL } from '../../../p2p-daemon/transfer/constants.ts'
import { StreamTransfer } from '../../../p2p-daemon/transfer/stream-transfer.ts'
import { MiB } from '../../../shared/limits.ts'
import { startTransferCluster, type TransferCluster } from '../../helpers/transfer-cluster.ts'
import { blobTransferSuite, collect } from '../../suites/blob-transfer.ts'

function create(): Promise<TransferCluster<StreamTransfer>> {
  return startTransferCluster(
    ({ log, mesh, registry }, store) =>
      new StreamTransfer({ log, mesh, registry, store }, { stallTimeoutMs: 5_000 }),
  )
}

blobTransferSuite('stream', create, { outstandingBytesMax: 5 * MiB })

describe('stream-transfer', () => {
  it('resets a stream that carries something else and serves the next one', async () => {
    const { cluster, source, sourceId, transfer, dispose } = await create()
    try {
      const { mesh } = cluster.node('ironwood')
      const signal = AbortSignal.timeout(10_000)
      const stream = await mesh.openStream(sourceId, BLOB_PROTOCOL, { signal, outboundMax: 8 })
      const frames = framed(stream, { frameBytesMax: 1024 })
      await frames.write(Buffer.from('GET / HTTP/1.1'))
      await expect(frames.read({ signal })).rejects.toThrow()
      const { hash } = await source.put(Buffer.from('served'))
      const remote = await transfer.fetch(sourceId, hash)
      expect((await collect(remote)).toString()).toBe('served')
    } finally {
      await dispose()
    }
  })
})
