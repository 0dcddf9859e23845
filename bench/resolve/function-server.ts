import type { AddressInfo } from 'node:net'

import resolve from '../../functions/resolve/handler.ts'
import { createFunctionApp } from '../../shared/function/host.ts'
import { createLogger } from '../../shared/log/log.ts'
import { createRegistry } from '../../shared/metrics/metrics.ts'

/** The resolve function alone in a process, as its image runs it. */
const stopping = new AbortController()
const app = await createFunctionApp(resolve, {
  name: 'resolve',
  env: process.env,
  secretsDirs: [],
  log: createLogger({ name: 'resolve', level: 'error' }),
  registry: createRegistry({ component: 'resolve', version: 'bench' }),
  signal: stopping.signal,
  version: 'bench',
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.({ port: (app.server.address() as AddressInfo).port })
process.once('SIGTERM', () => void app.close().then(() => process.exit(0)))
