import { once } from 'node:events'

import type { Command } from 'commander'

import { BlobNotFoundError, ExchangeBrokenError } from '../../shared/errors.ts'
import type { Exchange, ExchangeBody } from '../../shared/llm/exchange.ts'
import { PriceMap } from '../../shared/llm/price-map.ts'
import { ExchangeClient } from '../client/exchange-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes } from '../output/format.ts'
import { formatMoney } from '../output/money.ts'
import { formatPairs, formatTable } from '../output/table.ts'

interface Options {
  json?: boolean
  request?: boolean
  data?: string
}

const ADDRESS = 'as bzzz-exchange in an answer of the llm-proxy names it'

/** `bzzz exchange show|verify|replay`: what was asked of a model and what it answered. */
export function exchangeCommand(program: Command, host: CommandHost): void {
  const exchange = program
    .command('exchange')
    .description('model calls as they were recorded by the llm-proxy')
  exchange
    .command('show')
    .description('what is known of a call, or of all calls of its batch')
    .argument('<address>', ADDRESS)
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((address: string, options: Options) => show(host, address, options))
  exchange
    .command('verify')
    .description('read everything that was stored of a call again, hash it and price it')
    .argument('<address>', ADDRESS)
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((address: string, options: Options) => verify(host, address, options))
  exchange
    .command('replay')
    .description('write the bytes of the answer to stdout, as they went over the wire')
    .argument('<address>', ADDRESS)
    .option('--request', 'those of the request')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((address: string, options: Options) => replay(host, address, options))
}

async function show(host: CommandHost, address: string, options: Options): Promise<void> {
  const client = await ExchangeClient.open(host, options)
  const exchanges = await client.find(address)
  const [only] = exchanges
  if (options.json) host.stdout.write(`${JSON.stringify({ exchanges })}\n`)
  else if (only && address.includes('#')) host.stdout.write(describe(only))
  else host.stdout.write(list(exchanges))
}

function list(exchanges: readonly Exchange[]): string {
  return formatTable(
    ['exchange', 'at', 'agent', 'model', 'status', 'outcome', 'tokens', 'cost'],
    exchanges.map(({ id, at, agent, model, status, outcome, usage, costNanoUsd }) => [
      ...[`#${id}`, at, agent, model, String(status), outcome],
      usage ? `${usage.inputTokens} + ${usage.outputTokens}` : '',
      formatMoney(BigInt(costNanoUsd)),
    ]),
  )
}

function describe(exchange: Exchange): string {
  const { usage, peer, withheld } = exchange
  const served =
    exchange.servedModel === exchange.model ? '' : `, served as ${exchange.servedModel}`
  return formatPairs([
    ['exchange', exchange.id],
    ['at', exchange.at],
    ['by', `${exchange.agent}@${exchange.project} (${exchange.subject})`],
    ['call', `${exchange.method} ${exchange.path}`],
    ['model', exchange.model + served],
    ['upstream', exchange.upstream + (peer ? ` at ${peer}` : '')],
    ['answer', `${exchange.status}, ${exchange.outcome}${exchange.cached ? ', from cache' : ''}`],
    ['request', bodyText(exchange.request, withheld)],
    ['response', bodyText(exchange.response, withheld)],
    ...(usage
      ? ([
          ['input', `${usage.inputTokens} tokens, ${usage.cachedInputTokens} of them cached`],
          ['output', `${usage.outputTokens} tokens, ${usage.reasoningTokens} of them reasoning`],
          ['counted', usage.estimated ? 'here, as an estimate' : 'by the upstream'],
        ] as const)
      : []),
    ['cost', costText(exchange)],
    ['time', `${Math.round(exchange.totalMs)} ms`],
  ])
}

function bodyText(body: ExchangeBody | null, withheld: Exchange['withheld']): string {
  if (!body) return withheld ? `not kept (${withheld})` : 'empty'
  const { hash, sizeBytes, mediaType, redacted } = body
  return `bzzz://b3/${hash}  ${formatBytes(sizeBytes)} ${mediaType}${redacted ? ', redacted' : ''}`
}

function costText({ costNanoUsd, priced, priceMap }: Exchange): string {
  if (!priced) return 'no price is known'
  return `${formatMoney(BigInt(costNanoUsd))} by the prices bzzz://b3/${priceMap}`
}

/** @throws ExchangeBrokenError naming what does not hold, after everything was looked at */
async function verify(host: CommandHost, address: string, options: Options): Promise<void> {
  const client = await ExchangeClient.open(host, options)
  const problems: string[] = []
  const exchanges = await client.find(address)
  const maps = new Map<string, PriceMap | null>()
  let blobs = 0
  for (const exchange of exchanges) {
    for (const part of ['request', 'response'] as const) {
      const body = exchange[part]
      if (!body) continue
      const problem = await problemOf(client, body)
      if (problem === null) blobs += 1
      else problems.push(`the ${part} of ${exchange.id}: ${problem}`)
    }
    const problem = await costProblem(client, exchange, maps)
    if (problem !== null) problems.push(`the cost of ${exchange.id}: ${problem}`)
  }
  if (problems.length > 0)
    throw new ExchangeBrokenError(`The exchange does not hold:\n${problems.join('\n')}`)
  const checked = { exchanges: exchanges.length, blobs }
  host.stdout.write(
    options.json
      ? `${JSON.stringify({ whole: true, ...checked })}\n`
      : `whole: ${checked.exchanges} exchanges, ${checked.blobs} blobs hashed again\n`,
  )
}

async function problemOf(client: ExchangeClient, body: ExchangeBody): Promise<string | null> {
  try {
    const bytes = await client.read(body.hash)
    return bytes.length === body.sizeBytes ? null : `it has ${bytes.length} bytes`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** The cost follows from the tokens and the price map, which is a blob as well. */
async function costProblem(
  client: ExchangeClient,
  exchange: Exchange,
  maps: Map<string, PriceMap | null>,
): Promise<string | null> {
  const { priceMap, priced, usage, costNanoUsd } = exchange
  if (!priced || !usage) return null
  if (!maps.has(priceMap)) {
    const text = await client.read(priceMap).catch(() => null)
    maps.set(priceMap, text && new PriceMap(text.toString()))
  }
  const map = maps.get(priceMap)
  if (!map) return `its prices bzzz://b3/${priceMap} cannot be read`
  const names = [exchange.servedModel, exchange.model]
  const costs = names.map((name) => map.cost(name, usage, exchange.upstream).nanoUsd)
  if (costs.includes(BigInt(costNanoUsd))) return null
  return `it is ${costNanoUsd} nano-dollars and should be ${costs[0]}`
}

async function replay(host: CommandHost, address: string, options: Options): Promise<void> {
  const client = await ExchangeClient.open(host, options)
  const [exchange, second] = await client.find(address)
  if (!exchange || second) {
    throw new BlobNotFoundError('Name one exchange: the address with its #fragment.')
  }
  const part = options.request ? 'request' : 'response'
  const body = exchange[part]
  if (!body && exchange.withheld) {
    throw new BlobNotFoundError(`The ${part} was not kept (${exchange.withheld}).`)
  }
  if (!body) return
  const bytes = await client.read(body.hash)
  if (!host.stdout.write(bytes)) await once(host.stdout, 'drain', { signal: host.signal })
  if (body.redacted) host.stderr.write('bzzz: what was stored had been redacted.\n')
}
