import type { ColumnType, Generated } from 'kysely'

/**
 * Postgres holds what is searched and what is counted. Everything here can be rebuilt from the
 * nodes' disks, except revocations and audit rows, which a backup carries.
 */
export interface Schema {
  records: RecordTable
  revoked_tokens: RevokedTokenTable
  tokens: TokenTable
  audit: AuditTable
  audit_head: AuditHeadTable
  llm_usage: LlmUsageTable
  threads: ThreadTable
  thread_versions: ThreadVersionTable
  thread_messages: ThreadMessageTable
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
  /** Signed with a token key, so that nodes without a database believe it. */
  statement: string | null
}

/** What is known of a token that was made; never the token itself. */
export interface TokenTable {
  token_id: string
  subject: string
  role: string
  /** Null for all those of the role. */
  scopes: string[] | null
  projects: string[]
  created_at: Date
  expires_at: Date
}

/** Only ever added to; see shared/audit/. */
export interface AuditTable {
  seq: ColumnType<string, number, never>
  /** Chosen by the writer, so that what is sent twice is one row. */
  id: string
  at: Date
  component: string
  actor: string
  token_id: string
  remote: string
  action: string
  resource: string
  outcome: string
  status: number
  request_id: string
  arguments_hash: string
  previous_hash: string
  hash: string
}

/** One row: where the chain ends. Who adds to the chain locks it first. */
export interface AuditHeadTable {
  id: Generated<number>
  seq: ColumnType<string, number, number>
  hash: string
}

/** One row for each model call; see functions/llm-proxy/usage/. */
export interface LlmUsageTable {
  /** Of the exchange, chosen by the writer, so that what is sent twice is one row. */
  id: string
  at: Date
  token_id: string
  subject: string
  project: string
  agent: string
  path: string
  /** As asked for. */
  model: string
  served_model: string
  upstream: string
  peer: string | null
  status: number
  outcome: string
  cached: boolean
  input_tokens: ColumnType<string, number, number>
  cached_input_tokens: ColumnType<string, number, number>
  cache_write_tokens: ColumnType<string, number, number>
  output_tokens: ColumnType<string, number, number>
  reasoning_tokens: ColumnType<string, number, number>
  images: number
  estimated: boolean
  cost_nano_usd: ColumnType<string, string, string>
  priced: boolean
  /** BLAKE3 of the price map that the cost is from. */
  price_map: string
  first_byte_ms: number | null
  total_ms: number
  /** Address of the exchange; null where nothing was recorded. */
  exchange: string | null
}

/** A number that may be above 2^31: a string when read. */
type BigIntColumn = ColumnType<string, number | string, number | string>

/** As that, 0 unless given. */
type CountColumn = ColumnType<string, number | string | undefined, number | string>

/** One row for each thread; with version 0 it is only known as what others were forked from. */
export interface ThreadTable {
  id: ColumnType<string, never, never>
  address: string
  agent: string
  role: string | null
  project: string
  task: string | null
  path: string
  title: string | null
  created_by: string | null
  created_at: Date | null
  updated_at: Date | null
  key: string | null
  /** The highest version of the head that is in the index, and its record. */
  version: CountColumn
  record: string | null
  ends: Generated<string[]>
  seq: CountColumn
  messages: CountColumn
  from_id: BigIntColumn | null
  from_seq: BigIntColumn | null
  from_ends: string[] | null
}

/** Versions of heads whose messages are in the index. */
export interface ThreadVersionTable {
  record: string
  thread_id: BigIntColumn
  version: BigIntColumn
}

export interface ThreadMessageTable {
  thread_id: BigIntColumn
  seq: BigIntColumn
  hash: string
  role: string
  author: string
  created_at: Date
  key: string | null
  /** The message as it lies in its blob. */
  body: string
  search: string
}
