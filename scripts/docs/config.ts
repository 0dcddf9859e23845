import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

import { z } from 'zod'

import { cliConfigSchema, upConfigSchema } from '../../cli/config.ts'
import { connectorConfigSchema } from '../../connector/config.ts'
import { jobsConfigSchema } from '../../functions/jobs/config.ts'
import { accountingConfigSchema, llmProxyConfigSchema } from '../../functions/llm-proxy/config.ts'
import { maintenanceConfigSchema } from '../../functions/maintenance/config.ts'
import { mcpConfigSchema } from '../../functions/mcp/config.ts'
import { migrateV1ConfigSchema } from '../../functions/migrate-v1/config.ts'
import { resolveConfigSchema } from '../../functions/resolve/config.ts'
import { threadsConfigSchema } from '../../functions/threads/config.ts'
import { gatewayConfigSchema } from '../../gateway/config.ts'
import { daemonConfigSchema } from '../../p2p-daemon/config.ts'
import { duration, size } from '../../shared/config/env.ts'
import { accessConfigSchema } from '../../shared/auth/config.ts'
import { hostConfigSchema, serveConfigSchema } from '../../shared/function/config.ts'
import { GiB, KiB, MiB } from '../../shared/limits.ts'

export const file = 'docs/CONFIG.md'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Section {
  title: string
  note: string
  schema: z.ZodObject
}

export const SECTIONS: readonly Section[] = [
  {
    title: 'Node (`p2p-daemon/main.ts`)',
    note: 'One process on every machine that keeps blobs.',
    schema: daemonConfigSchema,
  },
  {
    title: 'Gateway (`gateway/main.ts`)',
    note: 'Its functions inherit its whole environment; what the stack file says of one is laid over it.',
    schema: gatewayConfigSchema,
  },
  {
    title: 'Connector (`connector/main.ts`)',
    note: 'Runs jobs: [JOBS](JOBS.md). One of the two servers is required.',
    schema: connectorConfigSchema,
  },
  {
    title: 'Every function',
    note: 'Under the names of OpenFaaS’s watchdog, set per function in the stack file.',
    schema: hostConfigSchema,
  },
  {
    title: 'Access to a function',
    note: 'Beside those above, for every function whose routes want a token.',
    schema: accessConfigSchema,
  },
  {
    title: 'A function in a container of its own',
    note: 'Beside those above; the gateway takes this part in the embedded cluster.',
    schema: serveConfigSchema,
  },
  {
    title: 'Function `resolve`',
    note: 'Beside those of every function.',
    schema: resolveConfigSchema,
  },
  {
    title: 'Function `llm-proxy`',
    note: 'Beside those of every function; the file of upstreams is described in [LLM-PROXY](LLM-PROXY.md).',
    schema: llmProxyConfigSchema,
  },
  {
    title: 'Limits, cost and record of `llm-proxy`',
    note: 'Beside those above: [LLM-LIMITS](LLM-LIMITS.md), [EXCHANGES](EXCHANGES.md).',
    schema: accountingConfigSchema,
  },
  {
    title: 'Function `mcp`',
    note: 'Beside those of every function: [MCP](MCP.md).',
    schema: mcpConfigSchema,
  },
  {
    title: 'Function `threads`',
    note: 'Beside those of every function.',
    schema: threadsConfigSchema,
  },
  {
    title: 'Function `jobs`',
    note: 'Beside those of every function.',
    schema: jobsConfigSchema,
  },
  {
    title: 'Function `migrate-v1`',
    note: 'Beside those of every function: [v1 to v2](migration/v1-to-v2.md).',
    schema: migrateV1ConfigSchema,
  },
  {
    title: 'Function `maintenance`',
    note: 'Beside those of every function.',
    schema: maintenanceConfigSchema,
  },
  {
    title: '`bzzz up`',
    note: 'What it starts gets ports, data folders and addresses from it; other variables are handed on.',
    schema: upConfigSchema,
  },
  {
    title: 'The other commands of `bzzz`',
    note: 'All optional where the data folder of a local cluster is found.',
    schema: cliConfigSchema,
  },
]

const HEAD = `# Configuration

Every process reads its environment once, when it starts. It reports all mistakes together, by the
name of the variable and never by its value, and does not start. An empty variable counts as absent.

**Secrets come from files.** Each variable \`NAME\` may be given as \`NAME_FILE\` instead: a path to
a file with the value, such as a mounted secret. A newline at its end is not part of the value.
Giving both is a mistake.

Durations are written \`250ms\`, \`10s\`, \`5m\`, \`24h\`, \`30d\`; sizes \`4096\`, \`64KiB\`, \`512MiB\`, \`5GiB\`.
Lists are separated by commas.

<!-- Drawn from the schemas by npm run docs. Change those. -->
`

export function render(): string {
  const sections = SECTIONS.map(({ title, note, schema }) => {
    const rows = Object.entries(schema.shape).map(([name, field]) => {
      return `| \`${name}\` | ${defaultOf(field as z.ZodType)} | ${meaningOf(name, field as z.ZodType)} |`
    })
    return `\n## ${title}\n\n${note}\n\n| name | default | meaning |\n|---|---|---|\n${rows.join('\n')}\n`
  })
  return HEAD + sections.join('')
}

function meaningOf(name: string, field: z.ZodType): string {
  if (!field.description) throw new Error(`${name} has no description.`)
  return field.description.replace(/\.$/, '').replaceAll('|', '\\|')
}

function defaultOf(field: z.ZodType): string {
  if (field instanceof z.ZodOptional) return ''
  // The text that is parsed in place of an absent one.
  if (field instanceof z.ZodPrefault) return `\`${String(field.def.defaultValue)}\``
  if (!(field instanceof z.ZodDefault)) return '**required**'
  const text = textOf(field.def.defaultValue, field.def.innerType)
  return text === '' ? '' : `\`${text}\``
}

/** The default as one would write it. */
function textOf(value: unknown, schema: unknown): string {
  if (schema === duration)
    return withUnit(Number(value), { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 })
  if (schema === size) return withUnit(Number(value), { GiB, MiB, KiB, '': 1 })
  if (Array.isArray(value)) return value.join(',')
  const text = String(value)
  // A path inside the repository differs from machine to machine.
  return text.startsWith(ROOT) ? `./${relative(ROOT, text)}` : text
}

/** In the largest unit that leaves no fraction. */
function withUnit(value: number, units: Record<string, number>): string {
  const [unit = '', factor = 1] = Object.entries(units).find(([, one]) => value % one === 0) ?? []
  return value === 0 ? `0${Object.keys(units).at(-1)}` : `${value / factor}${unit}`
}
