import { EmbeddedPostgres } from '../../../cli/up/postgres/embedded-postgres.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'

/** Started by embedded-postgres.test.ts as a supervisor that the test may kill. */
const folder = process.env['POSTGRES_FOLDER']!
const server = new EmbeddedPostgres(
  { log: createSilentLogger() },
  { folder, logFile: `${folder}.log`, initialised: false, onInitialised: async () => undefined },
)
await server.start()
process.stdout.write(`${await server.pid()}\n`)
