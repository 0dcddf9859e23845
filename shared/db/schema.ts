import type { ColumnType, Generated } from 'kysely'

/**
 * Postgres holds what is searched and what is counted. Everything here can be rebuilt from the
 * nodes' disks, except revocations and audit rows, which a backup carries.
 */
export interface Schema {
  records: RecordTable
  revoked_tokens: RevokedTokenTable
}

/** One row for each version of each address, forks included. */
export interface RecordTable {
  /** Hash of the record itself: the key, so that indexing the same record twice is one row. */
  record: string
  address: string
  version: string | number
  agent: string
  role: string | null
  project: string
  task: string | null
  path: string
  hash: string
  size_bytes: ColumnType<string, number | string, never>
  media_type: string
  previous: string | null
  author: string
  created_at: Date
  indexed_at: Generated<Date>
}

export interface RevokedTokenTable {
  token_id: string
  reason: string
  /** After this the token is expired anyway and the row can go. */
  expires_at: Date
  revoked_at: Generated<Date>
}
