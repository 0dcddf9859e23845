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
  v1_imports: V1ImportTable
  v1_chunks: V1ChunkTable
  v1_threads: V1ThreadTable
  v1_import_threads: V1ImportThreadTable
  v1_entries: V1EntryTable
  v1_quarantine: V1QuarantineTable
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

export type V1ImportState = 'registered' | 'running' | 'done' | 'undoing' | 'undone'

/** One import of logs of v1. */
export interface V1ImportTable {
  /** Of what is imported: the same logs are the same import. */
  id: string
  state: V1ImportState
  files: string[]
  /** Names of hosts by author. */
  hosts: ColumnType<Record<string, string>, string, string>
  created_by: string
  created_at: Generated<Date>
  finished_at: Date | null
  /** Flows submitted so far. */
  flows: Generated<number>
  /** The parent of the last one. */
  job: string | null
  /** Hash of the report. */
  report: string | null
}

/** Entries of one chain that are imported together: the checkpoint. */
export interface V1ChunkTable {
  import: string
  /** Which of the logs of the import; several may have parts of one chain. */
  log: number
  author: string
  genesis: string
  chunk: number
  start: ColumnType<string, number, never>
  entries: number
  /** What the first entry links to, and the hash of the last. */
  previous: string
  head: string
  blob: string
  /** Set in the transaction that adds the entries. */
  done_at: Date | null
  verified_at: Date | null
  /** Nodes that the bytes came from. */
  verified_from: string[] | null
}

/** A conversation of v1 and the thread it became. */
export interface V1ThreadTable {
  key: string
  project: string
  task: string | null
  path: string
  title: string
  /** Its name in v1; several threads may have one. */
  topic: string | null
  /** Part of the address from the second on: the first was taken back. */
  generation: Generated<number>
  is_created: Generated<boolean>
}

export interface V1ImportThreadTable {
  import: string
  thread: string
  done_at: Date | null
}

export interface V1EntryTable {
  author: string
  position: ColumnType<string, number, never>
  /** As v1 computed it. */
  hash: string
  /** Of its exact bytes. */
  blob: string
  size_bytes: number
  type: string
  /** As v1 wrote it, to the nanosecond and with its offset. */
  written_at: string
  /** Milliseconds; never less than for the entry before it in the chain. */
  ordered_at: ColumnType<string, number, never>
  thread: string
  message_id: string | null
  parent_id: string | null
  /** All that brought it. */
  imports: string[]
}

/** Records that were not imported; the blob has their raw bytes. */
export interface V1QuarantineTable {
  import: string
  file: string
  file_offset: ColumnType<string, number, never>
  author: string | null
  position: ColumnType<string, number, never>
  records: number
  reason: string
  blob: string
  size_bytes: ColumnType<string, number, never>
}
