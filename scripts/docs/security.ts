import { readFileSync } from 'node:fs'

import { ROLE_NAMES, ROLES, SCOPE_TABLE, SCOPES } from '../../shared/auth/scopes.ts'

export const file = 'docs/SECURITY.md'

const GENERATED = /(<!-- generated: scopes -->\n)[^]*?(<!-- end -->)/

/** The prose of the file is written by hand; the table of scopes is drawn from the code. */
export function render(): string {
  const written = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  if (!GENERATED.test(written)) throw new Error(`${file} has no place for the table of scopes.`)
  return written.replace(
    GENERATED,
    (_, begin: string, end: string) => `${begin}\n${table()}\n\n${end}`,
  )
}

function table(): string {
  const head = ['scope', ...ROLE_NAMES, 'all projects', 'may']
  const rows = SCOPES.map((scope) => {
    const { means, everyProject } = SCOPE_TABLE[scope]
    const held = ROLE_NAMES.map((role) => (ROLES[role].includes(scope) ? 'yes' : ''))
    return [`\`${scope}\``, ...held, everyProject ? 'yes' : '', means]
  })
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
