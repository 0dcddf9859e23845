import type { Migration } from 'kysely'

import * as records from './migrations/0001-records.ts'
import * as access from './migrations/0002-access.ts'
import * as threads from './migrations/0003-threads.ts'
import * as usage from './migrations/0004-usage.ts'
import * as migration from './migrations/0006-migration.ts'

/**
 * Every migration in order, by name. Additive in one release, contracted in a later one, so that
 * the release before still runs on the schema. Never edited once released.
 */
export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-records': records,
  '0002-access': access,
  '0003-threads': threads,
  '0004-usage': usage,
  '0006-migration': migration,
}
