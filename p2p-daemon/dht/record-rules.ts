import type { SelectFn, ValidateFn } from '@libp2p/kad-dht'

import { InvalidRecordError } from '../../shared/errors.ts'
import {
  compareRecords,
  decodeRecord,
  verifyRecord,
  type AddressRecord,
} from '../../shared/record/record.ts'
import { recordKey } from './keys.ts'

export interface RecordRules {
  /** Peer ids whose signature counts: the node itself and the allow-list. */
  isAuthorAllowed: (peerId: string) => boolean
  /** What the policy of the cluster says to a record that is there already. */
  mayStand: (record: AddressRecord) => boolean
}

/**
 * The record in `bytes`, if it may stand under `key`: readable, signed by an allowed author, and
 * of the address the key was made from.
 * @throws InvalidRecordError
 */
export function checkRecord(key: Uint8Array, bytes: Uint8Array, rules: RecordRules): AddressRecord {
  const record = decodeRecord(bytes)
  if (Buffer.compare(key, recordKey(record.address)) !== 0) {
    throw new InvalidRecordError('The record belongs to another address.')
  }
  if (!rules.isAuthorAllowed(record.author)) {
    throw new InvalidRecordError('The author of the record is not allowed here.')
  }
  if (!rules.mayStand(record)) {
    throw new InvalidRecordError('The author of the record may not write this address.')
  }
  verifyRecord(record)
  return record
}

/** What kad-dht asks about every record that a peer stores here or answers with. */
export function createValidator(
  rules: RecordRules,
  onRefused: (error: InvalidRecordError) => void,
): ValidateFn {
  return (key, bytes) => {
    try {
      checkRecord(key, bytes, rules)
    } catch (error) {
      if (error instanceof InvalidRecordError) onRefused(error)
      throw error
    }
  }
}

/** Every node picks the same of several records: see `compareRecords`. */
export const selectRecord: SelectFn = (_key, candidates) => {
  const [best] = candidates
    .map((bytes, index) => ({ index, record: decodeRecord(bytes) }))
    .toSorted((a, b) => compareRecords(a.record, b.record))
  return best?.index ?? 0
}
