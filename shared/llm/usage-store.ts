import { sql, type ExpressionBuilder, type Selectable } from 'kysely'

import type { BzzzDatabase } from '../db/database.ts'
import type { LlmUsageTable, Schema } from '../db/schema.ts'
import type { UsageRow } from './usage-row.ts'

/** What spend can be told by; a day is one of UTC. */
export const USAGE_KEYS = ['model', 'agent', 'project', 'subject', 'upstream', 'day'] as const
export type UsageKey = (typeof USAGE_KEYS)[number]

/** Rows read or rewritten in one go: some 200 KiB. */
const PAGE_ROWS = 500

export interface UsageFilter {
  from?: Date | undefined
  /** Exclusive. */
  to?: Date | undefined
  project?: string | undefined
  agent?: string | undefined
  model?: string | undefined
  /** Patterns of a token: `*`, `apollo`, `apollo-*`. */
  projects?: readonly string[] | undefined
}

export interface UsageSum {
  /** In the order of the keys asked for. */
  keys: Partial<Record<UsageKey, string>>
  calls: number
  failedCalls: number
  /** Calls whose tokens were counted here, because the upstream did not tell. */
  estimatedCalls: number
  /** Calls that cost 0 because their model has no price. */
  unpricedCalls: number
  inputTokens: number
  cachedInputTokens: number
  outputTokens: number
  reasoningTokens: number
  /** Decimal digits. */
  costNanoUsd: string
}

/**
 * Rows that are there already are left alone, so an attempt may be repeated.
 * @returns how many were not there
 */
export async function insertUsage(db: BzzzDatabase, rows: readonly UsageRow[]): Promise<number> {
  let inserted = 0n
  for (let from = 0; from < rows.length; from += PAGE_ROWS) {
    // One parameter: a statement with one for each column of each row takes longer to be read.
    const page = JSON.stringify(rows.slice(from, from + PAGE_ROWS).map(toTable))
    const { numAffectedRows = 0n } = await sql`
      insert into llm_usage select * from json_populate_recordset(null::llm_usage, ${page}::json)
      on conflict (id) do nothing
    `.execute(db)
    inserted += numAffectedRows
  }
  return Number(inserted)
}

/** The dearest first, or days in their order. */
export async function sumUsage(
  db: BzzzDatabase,
  query: UsageFilter & { by: readonly UsageKey[]; limit: number; offset?: number },
): Promise<{ items: UsageSum[]; next: number | null }> {
  const { by, limit, offset = 0 } = query
  const keys = by.map((key) => ({ key, column: columnOf(key) }))
  const rows = await db
    .selectFrom('llm_usage')
    .where((builder) => matching(builder, query))
    .select(keys.map(({ key, column }) => column.as(key)))
    .select([
      sql<string>`count(*)`.as('calls'),
      sql<string>`count(*) filter (where outcome <> 'complete' or status >= 400)`.as('failed'),
      sql<string>`count(*) filter (where estimated)`.as('estimated'),
      sql<string>`count(*) filter (where not priced and not cached and status < 400)`.as(
        'unpriced',
      ),
      sql<string>`coalesce(sum(input_tokens), 0)`.as('input_tokens'),
      sql<string>`coalesce(sum(cached_input_tokens), 0)`.as('cached_tokens'),
      sql<string>`coalesce(sum(output_tokens), 0)`.as('output_tokens'),
      sql<string>`coalesce(sum(reasoning_tokens), 0)`.as('reasoning_tokens'),
      sql<string>`coalesce(sum(cost_nano_usd), 0)`.as('cost'),
    ])
    .groupBy(keys.map(({ column }) => column))
    .orderBy(by[0] === 'day' ? columnOf('day') : sql`sum(cost_nano_usd) desc`)
    .orderBy(sql`count(*) desc`)
    .$call((ordered) => keys.reduce((one, { column }) => one.orderBy(column), ordered))
    .limit(limit + 1)
    .offset(offset)
    .execute()
  const items = rows.slice(0, limit).map((row): UsageSum => ({
    keys: Object.fromEntries(by.map((key) => [key, String(row[key])])),
    calls: Number(row.calls),
    failedCalls: Number(row.failed),
    estimatedCalls: Number(row.estimated),
    unpricedCalls: Number(row.unpriced),
    inputTokens: Number(row.input_tokens),
    cachedInputTokens: Number(row.cached_tokens),
    outputTokens: Number(row.output_tokens),
    reasoningTokens: Number(row.reasoning_tokens),
    costNanoUsd: row.cost,
  }))
  return { items, next: rows.length > limit ? offset + limit : null }
}

/** Every row in the order of time, page by page. */
export async function* walkUsage(
  db: BzzzDatabase,
  filter: UsageFilter,
  signal: AbortSignal,
): AsyncGenerator<UsageRow[]> {
  let after: { at: Date; id: string } | undefined
  for (;;) {
    signal.throwIfAborted()
    const rows = await db
      .selectFrom('llm_usage')
      .selectAll()
      .where((builder) => matching(builder, filter))
      .$if(after !== undefined, (query) =>
        query.where(sql<boolean>`(at, id) > (${after?.at}, ${after?.id})`),
      )
      .orderBy('at')
      .orderBy('id')
      .limit(PAGE_ROWS)
      .execute()
    const last = rows.at(-1)
    if (!last) return
    yield rows.map(fromTable)
    after = { at: last.at, id: last.id }
  }
}

/** Puts other costs in place of those of some rows; what was used stays as it is. */
export async function rewriteCosts(
  db: BzzzDatabase,
  costs: readonly { id: string; costNanoUsd: string; priced: boolean; priceMap: string }[],
): Promise<void> {
  const column = (name: keyof (typeof costs)[number]) => costs.map((one) => one[name])
  await sql`
    update llm_usage u set cost_nano_usd = n.cost, priced = n.priced, price_map = n.price_map
    from unnest(${column('id')}::text[], ${column('costNanoUsd')}::bigint[],
      ${column('priced')}::boolean[], ${column('priceMap')}::text[])
      as n(id, cost, priced, price_map)
    where u.id = n.id
  `.execute(db)
}

function columnOf(key: UsageKey) {
  if (key === 'day') return sql<string>`to_char(at at time zone 'UTC', 'YYYY-MM-DD')`
  return sql<string>`${sql.ref(key)}`
}

function matching(builder: ExpressionBuilder<Schema, 'llm_usage'>, filter: UsageFilter) {
  const { from, to, project, agent, model, projects = ['*'] } = filter
  const covered = projects.map((pattern) =>
    pattern.endsWith('*')
      ? sql<boolean>`starts_with(project, ${pattern.slice(0, -1)})`
      : builder('project', '=', pattern),
  )
  return builder.and([
    builder.or(covered),
    ...(from ? [builder('at', '>=', from)] : []),
    ...(to ? [builder('at', '<', to)] : []),
    ...(project === undefined ? [] : [builder('project', '=', project)]),
    ...(agent === undefined ? [] : [builder('agent', '=', agent)]),
    ...(model === undefined ? [] : [builder('model', '=', model)]),
  ])
}

function toTable(row: UsageRow) {
  const { usage } = row
  return {
    id: row.id,
    at: row.at,
    token_id: row.tokenId,
    subject: row.subject,
    project: row.project,
    agent: row.agent,
    path: row.path,
    model: row.model,
    served_model: row.servedModel,
    upstream: row.upstream,
    peer: row.peer,
    status: row.status,
    outcome: row.outcome,
    cached: row.cached,
    input_tokens: usage.inputTokens,
    cached_input_tokens: usage.cachedInputTokens,
    cache_write_tokens: usage.cacheWriteTokens,
    output_tokens: usage.outputTokens,
    reasoning_tokens: usage.reasoningTokens,
    images: usage.images ?? 0,
    estimated: usage.estimated,
    cost_nano_usd: row.costNanoUsd,
    priced: row.priced,
    price_map: row.priceMap,
    first_byte_ms: row.firstByteMs,
    total_ms: row.totalMs,
    exchange: row.exchange,
  }
}

function fromTable(row: Selectable<LlmUsageTable>): UsageRow {
  return {
    id: row.id,
    at: row.at.toISOString(),
    tokenId: row.token_id,
    subject: row.subject,
    project: row.project,
    agent: row.agent,
    path: row.path,
    model: row.model,
    servedModel: row.served_model,
    upstream: row.upstream,
    peer: row.peer,
    status: row.status,
    outcome: row.outcome,
    cached: row.cached,
    usage: {
      inputTokens: Number(row.input_tokens),
      cachedInputTokens: Number(row.cached_input_tokens),
      cacheWriteTokens: Number(row.cache_write_tokens),
      outputTokens: Number(row.output_tokens),
      reasoningTokens: Number(row.reasoning_tokens),
      ...(row.images > 0 && { images: row.images }),
      estimated: row.estimated,
    },
    costNanoUsd: row.cost_nano_usd,
    priced: row.priced,
    priceMap: row.price_map,
    firstByteMs: row.first_byte_ms,
    totalMs: row.total_ms,
    exchange: row.exchange,
  }
}
