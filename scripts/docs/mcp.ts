import { readFileSync } from 'node:fs'

import type { Tool as ListedTool } from '@modelcontextprotocol/server'

import { TABLE } from '../../functions/mcp/table.ts'
import { TOOLSETS, type Tool } from '../../functions/mcp/tools/tool.ts'
import { ROLE_NAMES, ROLES, type Role, type Scope } from '../../shared/auth/scopes.ts'

export const file = 'docs/MCP.md'

const GENERATED = /(<!-- generated: (\w+) -->\n)[^]*?(<!-- end -->)/g

const PARTS: Readonly<Record<string, () => string>> = { roles, tools, resources, prompts }

/** The prose of the file is written by hand; what the code says is drawn from it. */
export function render(): string {
  const written = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  const missing = Object.keys(PARTS).filter((name) => !written.includes(`generated: ${name} -->`))
  if (missing.length > 0) throw new Error(`${file} has no place for: ${missing.join(', ')}.`)
  return written.replace(GENERATED, (_, begin: string, name: string, end: string) => {
    const part = PARTS[name]
    if (!part) throw new Error(`${file} has a place for ${name}, which nobody draws.`)
    return `${begin}\n${part()}\n\n${end}`
  })
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function sees(role: Role, scope: Scope | null): boolean {
  return scope === null || ROLES[role].includes(scope)
}

function roles(): string {
  const rows = [
    ...TABLE.tools.map(({ name, scope }) => ['tool', name, scope] as const),
    ...TABLE.resources.map(({ uri, scope }) => ['resource', uri, scope] as const),
    ...TABLE.prompts.map(({ name, scope }) => ['prompt', name, scope] as const),
  ]
  return table(
    ['', 'name', 'scope', ...ROLE_NAMES],
    rows.map(([kind, name, scope]) => [
      kind,
      `\`${name}\``,
      scope === null ? 'any token' : `\`${scope}\``,
      ...ROLE_NAMES.map((role) => (sees(role, scope) ? 'yes' : '')),
    ]),
  )
}

function tools(): string {
  const sets = TOOLSETS.map((toolset) => {
    const names = TABLE.tools.filter((tool) => tool.toolsets.includes(toolset))
    return [`\`${toolset}\``, names.map(({ name }) => `\`${name}\``).join(', ')]
  })
  return [table(['toolset', 'tools'], sets), ...TABLE.tools.map(describeTool)].join('\n\n')
}

function describeTool({ name, scope, listed, example, callsPerMinuteMax }: Tool): string {
  const { title, description, annotations = {}, inputSchema } = listed
  const hints = Object.entries(annotations).filter(([, value]) => value === true)
  const facts = [
    scope === null ? 'any token' : `scope \`${scope}\``,
    ...hints.map(([hint]) => hint.replace('Hint', '')),
    ...(Number.isFinite(callsPerMinuteMax) ? [`${callsPerMinuteMax} calls a minute`] : []),
  ]
  return [
    `### \`${name}\`: ${title}`,
    `${description}`,
    `${facts.join(' · ')}`,
    fields(inputSchema),
    '```json',
    `// arguments\n${JSON.stringify(example.arguments, null, 2)}`,
    `// answer\n${JSON.stringify(example.answer, null, 2)}`,
    '```',
  ]
    .filter((part) => part !== '')
    .join('\n\n')
    .replaceAll(/(```json)\n\n/g, '$1\n')
    .replaceAll(/\n\n```$/g, '\n```')
}

interface Field {
  type?: string
  description?: string
  default?: unknown
  enum?: unknown[]
}

function fields({ properties = {}, required = [] }: ListedTool['inputSchema']): string {
  const rows = Object.entries(properties as Record<string, Field>).map(([name, field]) => {
    const type = field.enum ? field.enum.map((one) => `\`${String(one)}\``).join(' ') : field.type
    const needed = required.includes(name) && field.default === undefined ? 'yes' : ''
    const fallback = field.default === undefined ? '' : `\`${JSON.stringify(field.default)}\``
    const meaning = (field.description ?? '').replaceAll('|', '\\|')
    return [`\`${name}\``, type ?? 'any', needed, fallback, meaning]
  })
  return rows.length === 0
    ? ''
    : table(['argument', 'type', 'required', 'default', 'meaning'], rows)
}

function resources(): string {
  return table(
    ['resource', 'scope', 'what it is', 'may be kept for'],
    TABLE.resources.map(({ uri, scope, listed, ttlMs }) => {
      const { description = '' } = 'resource' in listed ? listed.resource : listed.template
      return [`\`${uri}\``, `\`${scope}\``, description, `${ttlMs / 1000} s`]
    }),
  )
}

function prompts(): string {
  return table(
    ['prompt', 'scope', 'arguments', 'what it is', 'example'],
    TABLE.prompts.map(({ name, scope, listed, example }) => [
      `\`${name}\``,
      `\`${scope}\``,
      (listed.arguments ?? []).map((one) => `\`${one.name}\``).join(', '),
      listed.description ?? '',
      `\`${JSON.stringify(example)}\``,
    ]),
  )
}
