import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

import { InvalidArgumentError, type Command } from 'commander'
import { z } from 'zod'

import type { AuditRow, ChainHead } from '../../shared/audit/audit-chain.ts'
import { listRows, verifyDatabase } from '../../shared/audit/audit-store.ts'
import { duration } from '../../shared/config/env.ts'
import { AuditBrokenError, InvalidConfigError } from '../../shared/errors.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { withDatabase } from '../client/cluster-database.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { layoutOf, type DataLayout } from '../up/data-layout.ts'
import { writeDurable } from '../up/durable-file.ts'
import { integer } from './integer.ts'

interface ListOptions {
  limit: number
  actor?: string
  action?: string
  denied?: boolean
  since?: number
  json?: boolean
  data?: string
}

interface VerifyOptions {
  anchor?: ChainHead
  json?: boolean
  data?: string
}

const anchorSchema = z.object({ seq: z.int().min(0), hash: z.string().regex(/^[0-9a-f]{64}$/) })

/** `bzzz audit ls|verify`: who did what, and whether that list is whole. */
export function auditCommand(program: Command, host: CommandHost): void {
  const audit = program.command('audit').description('what was allowed and what was denied')
  audit
    .command('ls')
    .description('list the newest rows')
    .option('--limit <count>', 'at most this many', parseLimit, PAGE_SIZE_DEFAULT)
    .option('--actor <subject>', 'only of this subject')
    .option('--action <text>', 'only actions that contain this, such as token or /v1/blobs')
    .option('--denied', 'only what was denied')
    .option('--since <duration>', 'only of the last 24h, 7d', parseSince)
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of the cluster')
    .action((options: ListOptions) => list(host, options))
  audit
    .command('verify')
    .description('walk the whole chain and name the first row that does not hold')
    .option(
      '--anchor <seq:hash>',
      'an end of the chain that was written down elsewhere',
      parseAnchor,
    )
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of the cluster')
    .action((options: VerifyOptions) => verify(host, options))
}

function layout(host: CommandHost, dataDir: string | undefined): DataLayout {
  return layoutOf(dataDir ?? readCliConfig(host.env).BZZZ_DATA)
}

async function list(host: CommandHost, options: ListOptions): Promise<void> {
  const { limit, actor, action, denied, since, json, data } = options
  const rows = await withDatabase(host, layout(host, data), ({ db }) =>
    listRows(db, {
      limit,
      ...(actor !== undefined && { actor }),
      ...(action !== undefined && { action }),
      ...(denied && { outcome: 'deny' as const }),
      ...(since !== undefined && { sinceMs: Date.now() - since }),
    }),
  )
  host.stdout.write(json ? `${JSON.stringify({ rows })}\n` : describe(rows))
}

function describe(rows: readonly AuditRow[]): string {
  if (rows.length === 0) return 'No rows.\n'
  const head = ['row', 'at', 'where', 'who', 'outcome', 'status', 'action', 'resource']
  return formatTable(
    head,
    rows.map(({ seq, at, component, actor, remote, outcome, status, action, resource }) => [
      String(seq),
      at,
      component,
      actor || `unknown (${remote})`,
      outcome,
      String(status),
      action,
      resource,
    ]),
  )
}

/**
 * Each walk remembers where the chain ended, in the data folder: a chain that was cut or written
 * anew as a whole since then shows, which it cannot from itself alone.
 */
async function verify(host: CommandHost, options: VerifyOptions): Promise<void> {
  const folder = layout(host, options.data)
  const remembered = await readAnchor(folder)
  const anchors = [...(remembered ? [remembered] : []), ...(options.anchor ? [options.anchor] : [])]
  const report = await withDatabase(host, folder, ({ db }) =>
    verifyDatabase(db, { anchors, signal: host.signal }),
  )
  if (!report.whole) {
    throw new AuditBrokenError(
      `The chain does not hold at row ${report.brokenAt}: ${report.reason}.`,
    )
  }
  const { seq, hash } = report.head
  if (existsSync(folder.config)) {
    await writeDurable(folder.auditAnchor, `${JSON.stringify({ seq, hash })}\n`)
  }
  const pairs = formatPairs([
    ['chain', 'whole'],
    ['rows', String(seq)],
    ['anchor', `${seq}:${hash}`],
  ])
  host.stdout.write(options.json ? `${JSON.stringify({ whole: true, seq, hash })}\n` : pairs)
}

async function readAnchor(folder: DataLayout): Promise<ChainHead | null> {
  if (!existsSync(folder.auditAnchor)) return null
  try {
    return anchorSchema.parse(JSON.parse(await readFile(folder.auditAnchor, 'utf8')))
  } catch (error) {
    throw new InvalidConfigError(`${folder.auditAnchor} cannot be understood.`, { cause: error })
  }
}

function parseAnchor(text: string): ChainHead {
  const [seq, hash] = text.split(':')
  const result = anchorSchema.safeParse({ seq: Number(seq), hash })
  if (result.success) return result.data
  throw new InvalidArgumentError('It is a row and its hash, as bzzz audit verify prints them.')
}

function parseSince(text: string): number {
  const result = duration.safeParse(text)
  if (result.success) return result.data
  throw new InvalidArgumentError('It is a duration such as 24h or 7d.')
}

function parseLimit(text: string): number {
  return integer(text, 1, PAGE_SIZE_MAX)
}
