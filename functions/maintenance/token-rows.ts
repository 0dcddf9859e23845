import type { BzzzDatabase } from '../../shared/db/database.ts'

/** Kept this long after the end of the token: clocks differ, and a token list is read by people. */
const KEEP_AFTER_EXPIRY_MS = 7 * 86_400_000

/** Removes revocations of tokens that nobody accepts any more. @returns how many */
export async function removeExpiredTokens(db: BzzzDatabase, nowMs = Date.now()): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('revoked_tokens')
    .where('expires_at', '<', new Date(nowMs - KEEP_AFTER_EXPIRY_MS))
    .executeTakeFirst()
  return Number(numDeletedRows)
}
