import type { Command } from 'commander'

import { migrateDatabase, pendingMigrations } from '../../shared/db/database.ts'
import { migrateQueue } from '../../shared/queue/postgres-backend.ts'
import { withDatabase } from '../client/cluster-database.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { layoutOf } from '../up/data-layout.ts'

interface Options {
  data?: string
}

/** `bzzz db migrate|status`: for a database of one's own, which nothing else changes untold. */
export function dbCommand(program: Command, host: CommandHost): void {
  const db = program.command('db').description('the database of the cluster')
  const add = (name: string, description: string): Command =>
    db
      .command(name)
      .description(description)
      .option('--data <dir>', 'data folder of a local cluster')
  add('migrate', 'bring its schema up to this release; make a backup first').action(
    (options: Options) => migrate(host, options),
  )
  add('status', 'say which migrations it lacks').action((options: Options) => status(host, options))
}

async function migrate(host: CommandHost, { data }: Options): Promise<void> {
  const layout = layoutOf(data ?? readCliConfig(host.env).BZZZ_DATA)
  const made = await withDatabase(host, layout, async ({ db, url }) => {
    const names = await migrateDatabase(db)
    await migrateQueue(url)
    return names
  })
  host.stdout.write(made.length > 0 ? `Made ${made.join(', ')}.\n` : 'Nothing was to be done.\n')
}

async function status(host: CommandHost, { data }: Options): Promise<void> {
  const layout = layoutOf(data ?? readCliConfig(host.env).BZZZ_DATA)
  const pending = await withDatabase(host, layout, ({ db }) => pendingMigrations(db))
  host.stdout.write(pending.length > 0 ? `Lacks ${pending.join(', ')}.\n` : 'Up to date.\n')
}
