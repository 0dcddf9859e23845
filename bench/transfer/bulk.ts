import type { Mesh } from '../../p2p-daemon/mesh/mesh.ts'
import { createNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import type { RemoteBlob } from '../../p2p-daemon/transfer/blob-transfer.ts'
import { BulkTransfer } from '../../p2p-daemon/transfer/bulk-transfer.ts'
import { type BlobHasher, createHasher, hashBytes } from '../../shared/blob/hash.ts'
import { BlobNotFoundError } from '../../shared/errors.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { payloadStore, type Payload, type Work } from './payload.ts'
import type { Client } from './contenders.ts'

/** Blobs fetched at once: as many as one peer may be asked for. */
const FETCHES = 64

export interface BulkAddress {
  peerId: string
  port: number
}

/** Ours as the daemon runs it, with two nodes that know each other in place of a mesh. */
function createTransfer(store: Pick<Payload, 'bytes'> | undefined, peer?: BulkAddress) {
  const nodeKey = createNodeKey()
  const mesh = {
    peer: () => peer && { bulkPort: peer.port, remoteAddress: '/ip4/127.0.0.1/tcp/1' },
    update: () => undefined,
  } as unknown as Pick<Mesh, 'peer'> & { update(): void }
  const transfer = new BulkTransfer(
    {
      log: createSilentLogger(),
      registry: new Registry(),
      nodeKey,
      allowList: { has: () => true, onChange: () => () => undefined },
      mesh,
      store: store
        ? payloadStore(store as Payload)
        : { get: () => Promise.reject(new BlobNotFoundError('There is nothing here.')) },
    },
    { host: '127.0.0.1', port: 0 },
  )
  return { transfer, nodeKey }
}

export async function serveBulk(payload: Payload): Promise<BulkAddress> {
  const { transfer, nodeKey } = createTransfer(payload)
  await transfer.start()
  return { peerId: nodeKey.peerId, port: transfer.port ?? 0 }
}

export async function connectBulk(address: BulkAddress): Promise<Client> {
  const { transfer } = createTransfer(undefined, address)
  await transfer.start()
  const fetchBlob = async (hash: string): Promise<void> => {
    const remote = await transfer.fetch(address.peerId, hash)
    if ((await hashOf(remote)) !== hash) throw new Error('Other bytes arrived.')
  }
  return {
    fetch: async (work: Work) => {
      const hashes = work.blobs.map(({ hash }) => hash).values()
      const workers = Array.from({ length: FETCHES }, async () => {
        for (const hash of hashes) await fetchBlob(hash)
      })
      await Promise.all(workers)
    },
    close: () => transfer.stop(),
  }
}

/** As the store does: a blob that comes in one piece is hashed at once. */
async function hashOf({ body, sizeBytes, release }: RemoteBlob): Promise<string> {
  let hasher: BlobHasher | undefined
  let whole: string | undefined
  for await (const chunk of body) {
    if (chunk.length === sizeBytes) whole = hashBytes(chunk)
    else (hasher ??= createHasher()).update(chunk)
    release?.(chunk)
  }
  return whole ?? hasher?.digestHex() ?? hashBytes(new Uint8Array(0))
}
