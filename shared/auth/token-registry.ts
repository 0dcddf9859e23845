import type { BzzzDatabase } from '../db/database.ts'
import type { TokenClaims } from './token.ts'

/** What is kept of a token that was made; never the token itself. */
export interface IssuedToken {
  id: string
  subject: string
  role: string
  /** Null for all those of the role. */
  scopes: readonly string[] | null
  projects: readonly string[]
  createdAt: Date
  expiresAt: Date
}

export interface ListedToken extends IssuedToken {
  revokedAt: Date | null
  reason: string | null
}

/** Longest list; a team with more tokens than this looks for one by its subject. */
const LIST_MAX = 500

export async function registerToken(db: BzzzDatabase, token: IssuedToken): Promise<void> {
  const { id, subject, role, scopes, projects, createdAt, expiresAt } = token
  await db
    .insertInto('tokens')
    .values({
      token_id: id,
      subject,
      role,
      scopes: scopes && [...scopes],
      projects: [...projects],
      created_at: createdAt,
      expires_at: expiresAt,
    })
    .execute()
}

/** The newest first. Those that are over are left out unless asked for. */
export async function listTokens(
  db: BzzzDatabase,
  filter: { all?: boolean; subject?: string | undefined; id?: string } = {},
): Promise<ListedToken[]> {
  let query = db
    .selectFrom('tokens')
    .leftJoin('revoked_tokens', 'revoked_tokens.token_id', 'tokens.token_id')
    .selectAll('tokens')
    .select(['revoked_tokens.revoked_at', 'revoked_tokens.reason'])
    .orderBy('created_at', 'desc')
    .limit(LIST_MAX)
  if (!filter.all) query = query.where('tokens.expires_at', '>', new Date())
  if (filter.subject !== undefined) query = query.where('subject', '=', filter.subject)
  if (filter.id !== undefined) query = query.where('tokens.token_id', '=', filter.id)
  return (await query.execute()).map((row) => ({
    id: row.token_id,
    subject: row.subject,
    role: row.role,
    scopes: row.scopes,
    projects: row.projects,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    reason: row.reason,
  }))
}

/** Says it a second time without a change, but for a statement that was not there before. */
export async function storeRevocation(
  db: BzzzDatabase,
  revocation: { id: TokenClaims['id']; expiresAt: Date; reason: string; statement: string },
): Promise<void> {
  const { id, expiresAt, reason, statement } = revocation
  await db
    .insertInto('revoked_tokens')
    .values({ token_id: id, expires_at: expiresAt, reason, statement })
    .onConflict((conflict) => conflict.column('token_id').doUpdateSet({ statement }))
    .execute()
}

/**
 * Forgets tokens and revocations that have been over for that long; for scheduled clean-up. Audit
 * rows stay. @returns how many rows went
 */
export async function forgetExpiredTokens(db: BzzzDatabase, olderThanMs: number): Promise<number> {
  const before = new Date(Date.now() - olderThanMs)
  const tables = ['revoked_tokens', 'tokens'] as const
  let count = 0
  for (const table of tables) {
    const { numDeletedRows } = await db
      .deleteFrom(table)
      .where('expires_at', '<', before)
      .executeTakeFirst()
    count += Number(numDeletedRows)
  }
  return count
}
