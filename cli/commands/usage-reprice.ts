import { readFile } from 'node:fs/promises'

import type { Command } from 'commander'

import { InvalidConfigError } from '../../shared/errors.ts'
import { PriceMap, type Cost } from '../../shared/llm/price-map.ts'
import type { UsageRow } from '../../shared/llm/usage-row.ts'
import { rewriteCosts, walkUsage } from '../../shared/llm/usage-store.ts'
import { withDatabase } from '../client/cluster-database.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { formatMoney } from '../output/money.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { layoutOf } from '../up/data-layout.ts'
import { parseDuration } from './duration.ts'

interface Options {
  prices: string
  since?: number
  project?: string
  write?: boolean
  json?: boolean
  data?: string
}

interface Change {
  calls: number
  unpriced: number
  before: bigint
  after: bigint
}

/** `bzzz usage reprice`: what the calls that were made cost by another price map. */
export function repriceCommand(usage: Command, host: CommandHost): void {
  usage
    .command('reprice')
    .description('what calls cost by another price map, from the tokens that are kept of each')
    .requiredOption('--prices <file>', 'prices in the format of LiteLLM')
    .option('--since <duration>', 'only calls of the last 24h, 7d; by default all', parseDuration)
    .option('--project <name>', 'only of this project')
    .option('--write', 'put the new costs in place of those that are kept')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of the cluster')
    .action((options: Options) => reprice(host, options))
}

async function reprice(host: CommandHost, options: Options): Promise<void> {
  const map = await readPrices(options.prices)
  const layout = layoutOf(options.data ?? readCliConfig(host.env).BZZZ_DATA)
  const changes = new Map<string, Change>()
  await withDatabase(host, layout, async ({ db }) => {
    const filter = {
      project: options.project,
      from: options.since === undefined ? undefined : new Date(Date.now() - options.since),
    }
    for await (const rows of walkUsage(db, filter, host.signal)) {
      const costs = rows.map((row) => ({ row, cost: costOf(map, row) }))
      for (const { row, cost } of costs) note(changes, row, cost)
      if (!options.write) continue
      await rewriteCosts(
        db,
        costs.map(({ row: { id }, cost }) => ({
          ...{ id, priced: cost.priced, priceMap: cost.priceMapHash },
          costNanoUsd: String(cost.nanoUsd),
        })),
      )
    }
  })
  host.stdout.write(
    options.json ? formatJSON(map, changes, options) : formatText(map, changes, options),
  )
}

async function readPrices(path: string): Promise<PriceMap> {
  try {
    return new PriceMap(await readFile(path, 'utf8'))
  } catch (error) {
    const reason = error instanceof Error ? error.message : ''
    throw new InvalidConfigError(`${path} holds no prices:\n${reason}`, { cause: error })
  }
}

/** As when the call was made: as served, else as asked for. An answer from the cache is free. */
function costOf(map: PriceMap, { servedModel, model, usage, upstream, cached }: UsageRow): Cost {
  const served = map.cost(servedModel, usage, upstream)
  const cost = served.priced ? served : map.cost(model, usage, upstream)
  return cached ? { ...cost, nanoUsd: 0n } : cost
}

function note(changes: Map<string, Change>, row: UsageRow, cost: Cost): void {
  const { model } = row
  const change = changes.get(model) ?? { calls: 0, unpriced: 0, before: 0n, after: 0n }
  change.calls += 1
  if (!cost.priced) change.unpriced += 1
  change.before += BigInt(row.costNanoUsd)
  change.after += cost.nanoUsd
  changes.set(model, change)
}

const inOrder = (changes: ReadonlyMap<string, Change>): [string, Change][] =>
  [...changes].toSorted(([left], [right]) => left.localeCompare(right))

function formatText(
  map: PriceMap,
  changes: ReadonlyMap<string, Change>,
  { write = false }: Options,
): string {
  if (changes.size === 0) return 'No calls.\n'
  const rows = inOrder(changes).map(([model, { calls, unpriced, before, after }]) => [
    ...[model, String(calls), formatMoney(before), formatMoney(after)],
    unpriced > 0 ? `${unpriced} without a price` : '',
  ])
  const all = [...changes.values()]
  const total = (of: 'before' | 'after') =>
    formatMoney(all.reduce((sum, change) => sum + change[of], 0n))
  return (
    formatTable(['model', 'calls', 'before', 'after', ''], rows) +
    formatPairs([
      ['in all', `${total('before')} before, ${total('after')} after`],
      ['prices', map.hash],
      ['kept', write ? 'the new costs' : 'the old costs; --write puts the new ones in their place'],
    ])
  )
}

function formatJSON(
  map: PriceMap,
  changes: ReadonlyMap<string, Change>,
  { write = false }: Options,
): string {
  const models = inOrder(changes).map(([model, { calls, unpriced, before, after }]) => ({
    ...{ model, calls, unpriced },
    beforeNanoUsd: String(before),
    afterNanoUsd: String(after),
  }))
  return `${JSON.stringify({ priceMap: map.hash, written: write, models })}\n`
}
