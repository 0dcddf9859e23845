import { listTokens, type ListedToken } from '../../shared/auth/token-registry.ts'
import { withDatabase } from '../client/cluster-database.ts'
import type { CommandHost } from '../host.ts'
import { formatTable } from '../output/table.ts'
import type { DataLayout } from '../up/data-layout.ts'

export interface ListOptions {
  all?: boolean
  subject?: string
  json?: boolean
}

/** Everything that is known of the tokens that were made, but never a token. */
export async function listTokensCommand(
  host: CommandHost,
  layout: DataLayout,
  { all = false, subject, json }: ListOptions,
): Promise<void> {
  const tokens = await withDatabase(host, layout, ({ db }) => listTokens(db, { all, subject }))
  host.stdout.write(json ? `${JSON.stringify({ tokens })}\n` : describe(tokens))
}

function describe(tokens: readonly ListedToken[]): string {
  if (tokens.length === 0) return 'No tokens.\n'
  const head = ['id', 'subject', 'role', 'projects', 'created', 'expires', 'revoked']
  return formatTable(
    head,
    tokens.map(({ id, subject, role, scopes, projects, createdAt, expiresAt, revokedAt }) => [
      id,
      subject,
      scopes ? `${role} (${scopes.join(' ')})` : role,
      projects.join(' '),
      day(createdAt),
      day(expiresAt),
      revokedAt ? day(revokedAt) : '-',
    ]),
  )
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}
