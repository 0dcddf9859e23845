import type { AddressInfo } from 'node:net'

import threads from '../../functions/threads/handler.ts'
import { createFunctionApp } from '../../shared/function/host.ts'
import { createLogger } from '../../shared/log/log.ts'
import { createRegistry } from '../../shared/metrics/metrics.ts'

/** The function threads alone in a process, as its image runs it. */
const stopping = new AbortController()
const app = await createFunctionApp(threads, {
  name: 'threads',
  env: process.env,
  secretsDirs: [],
  log: createLogger({ name: 'threads', level: 'error' }),
  registry: createRegistry({ component: 'threads', version: 'test' }),
  signal: stopping.signal,
  version: 'test',
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.({ port: (app.server.address() as AddressInfo).port })
process.once('SIGTERM', () => void app.close().then(() => process.exit(0)))
