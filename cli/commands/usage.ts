import { InvalidArgumentError, Option, type Command } from 'commander'

import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { USAGE_KEYS, type UsageKey, type UsageSum } from '../../shared/llm/usage-store.ts'
import { findConnection } from '../client/connection.ts'
import { callJSON } from '../client/http.ts'
import type { CommandHost } from '../host.ts'
import { formatBar, formatMoney, formatUsd } from '../output/money.ts'
import { formatTable } from '../output/table.ts'
import { parseDuration } from './duration.ts'
import { integer } from './integer.ts'
import { rebuildCommand } from './usage-rebuild.ts'
import { repriceCommand } from './usage-reprice.ts'

interface Options {
  by: UsageKey[]
  since?: number
  from?: string
  to?: string
  project?: string
  agent?: string
  model?: string
  limit: number
  after?: number
  csv?: boolean
  json?: boolean
  data?: string
}

interface Page {
  from: string
  items: UsageSum[]
  next: number | null
}

const BAR_CHARS = 20

/** `bzzz usage`: what model calls used and cost, as the llm-proxy tells it. */
export function usageCommand(program: Command, host: CommandHost): void {
  const usage = program
    .command('usage')
    .description('what model calls used and cost')
    .option('--by <keys>', `up to three of ${USAGE_KEYS.join(', ')}`, parseKeys, ['model'])
    .option('--since <duration>', 'only of the last 24h, 7d; by default 30d', parseDuration)
    .addOption(new Option('--from <time>', 'from this day or time on, in UTC').conflicts('since'))
    .option('--to <time>', 'up to this day or time, exclusive')
    .option('--project <name>', 'only of this project')
    .option('--agent <name>', 'only of this agent')
    .option('--model <name>', 'only of this model')
    .option(
      '--limit <n>',
      'rows at most',
      (text) => integer(text, 1, PAGE_SIZE_MAX),
      PAGE_SIZE_DEFAULT,
    )
    .option('--after <n>', 'go on after so many rows', (text) => integer(text, 0))
    .addOption(new Option('--csv', 'print CSV, money in full').conflicts('json'))
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((options: Options) => show(host, options))
  repriceCommand(usage, host)
  rebuildCommand(usage, host)
}

function parseKeys(text: string): UsageKey[] {
  const keys = text.split(',').map((key) => key.trim())
  const isKey = (key: string): key is UsageKey => (USAGE_KEYS as readonly string[]).includes(key)
  if (keys.every(isKey)) return keys
  throw new InvalidArgumentError(`It is one or more of ${USAGE_KEYS.join(', ')}.`)
}

async function show(host: CommandHost, options: Options): Promise<void> {
  const { gatewayURL, token } = await findConnection(host, options.data)
  const query = new URLSearchParams({ by: options.by.join(','), limit: String(options.limit) })
  const from =
    options.since === undefined ? options.from : new Date(Date.now() - options.since).toISOString()
  const { to, project, agent, model, after } = options
  for (const [name, value] of Object.entries({ from, to, project, agent, model, after })) {
    if (value !== undefined) query.set(name, String(value))
  }
  const url = `${gatewayURL}/function/llm-proxy/v1/usage?${query}`
  const page = await callJSON<Page>(url, { token, signal: host.signal })
  if (options.json) host.stdout.write(`${JSON.stringify(page)}\n`)
  else if (options.csv) host.stdout.write(formatCSV(options.by, page.items))
  else host.stdout.write(formatPage(options.by, page))
}

function formatPage(by: readonly UsageKey[], { items, next, from }: Page): string {
  if (items.length === 0) return `No calls since ${from}.\n`
  const costs = items.map(({ costNanoUsd }) => BigInt(costNanoUsd))
  const weights = costs.some((cost) => cost > 0n)
    ? costs
    : items.map(({ inputTokens, outputTokens }) => BigInt(inputTokens + outputTokens))
  const largest = weights.reduce((most, weight) => (weight > most ? weight : most), 0n)
  const head = [...by, 'calls', 'input', 'cached', 'output', 'cost', '']
  const rows = items.map((item, index) => [
    ...by.map((key) => item.keys[key] ?? ''),
    String(item.calls),
    String(item.inputTokens),
    String(item.cachedInputTokens),
    String(item.outputTokens),
    formatMoney(costs[index]!),
    formatBar(weights[index]!, largest, BAR_CHARS),
  ])
  return formatTable(head, rows) + notes(items) + (next === null ? '' : `more: --after ${next}\n`)
}

/** What the sums do not say by themselves. */
function notes(items: readonly UsageSum[]): string {
  const sum = (of: (item: UsageSum) => number): number =>
    items.reduce((total, item) => total + of(item), 0)
  const estimated = sum((item) => item.estimatedCalls)
  const unpriced = sum((item) => item.unpricedCalls)
  return [
    ...(estimated > 0 ? [`${estimated} calls are estimated: their upstream did not tell.\n`] : []),
    ...(unpriced > 0 ? [`${unpriced} calls cost nothing here: their model has no price.\n`] : []),
  ].join('')
}

function formatCSV(by: readonly UsageKey[], items: readonly UsageSum[]): string {
  const counts = [
    ...(['calls', 'failedCalls', 'estimatedCalls', 'unpricedCalls'] as const),
    ...(['inputTokens', 'cachedInputTokens', 'outputTokens', 'reasoningTokens'] as const),
  ]
  const lines = items.map((item) => [
    ...by.map((key) => item.keys[key] ?? ''),
    ...counts.map((name) => String(item[name])),
    formatUsd(BigInt(item.costNanoUsd)),
  ])
  return [[...by, ...counts, 'usd'], ...lines]
    .map((cells) => `${cells.map(csvCell).join(',')}\r\n`)
    .join('')
}

/** RFC 4180; a name that a spreadsheet would calculate is made text. */
function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
