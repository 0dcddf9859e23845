import { DatabaseUnavailableError } from '../errors.ts'

/** Classes of SQLSTATE that mean that the server, not the statement, is at fault. */
const AWAY = /^(?:08|53|57)/

/** Runs a query. @throws DatabaseUnavailableError when the database does not answer */
export async function reached<T>(query: () => Promise<T>): Promise<T> {
  try {
    return await query()
  } catch (error) {
    if (!isAway(error)) throw error
    throw new DatabaseUnavailableError('The database does not answer; try again shortly.', {
      cause: error,
    })
  }
}

function isAway(error: unknown): boolean {
  const inner = error instanceof AggregateError ? error.errors[0] : error
  if (!(inner instanceof Error)) return false
  const code = 'code' in inner ? String(inner.code) : ''
  if (/^[0-9A-Z]{5}$/.test(code)) return AWAY.test(code)
  return /^E[A-Z]+$/.test(code) || /timeout|terminated|queryable|ended|closed/i.test(inner.message)
}
