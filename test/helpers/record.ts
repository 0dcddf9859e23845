import { createNodeKey, type NodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { signRecord, type AddressRecord } from '../../shared/record/record.ts'

/** A signed record of an address, with something plausible in every field not given. */
export function makeRecord(
  fields: Partial<AddressRecord> & { address: string },
  key: Pick<NodeKey, 'peerId' | 'signingKey'> = createNodeKey(),
): AddressRecord {
  const version = fields.version ?? 1
  return signRecord(
    {
      version,
      hash: hashBytes(Buffer.from(`content ${version}`)),
      sizeBytes: 9,
      mediaType: 'text/plain',
      previous: version === 1 ? null : hashBytes(Buffer.from('before')),
      author: key.peerId,
      timestampMs: 1_700_000_000_000,
      ...fields,
    },
    key.signingKey,
  )
}
