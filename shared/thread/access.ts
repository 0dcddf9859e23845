import type { Scope } from '../auth/scopes.ts'
import { ScopeMissingError } from '../errors.ts'

/** What a daemon asks of whoever writes a thread. */
const WRITING: readonly Scope[] = ['blob:write', 'address:write']

/**
 * Messages of several callers go to the daemon together, under the token of one of them, so it
 * cannot judge the others: every function asks this of each caller, beside `thread:write` and the
 * project, before it appends. @throws ScopeMissingError
 */
export function requireThreadWriter({ scopes }: { scopes: readonly string[] }): void {
  const missing = WRITING.find((scope) => !scopes.includes(scope))
  if (missing) throw new ScopeMissingError(`Writing threads takes the scope ${missing}, too.`)
}
