import type { AddressInfo } from 'node:net'

import mcp from '../../functions/mcp/handler.ts'
import { createFunctionApp } from '../../shared/function/host.ts'
import { createLogger } from '../../shared/log/log.ts'
import { createRegistry } from '../../shared/metrics/metrics.ts'

/** The function alone in a process, as its image runs it. */
const app = await createFunctionApp(mcp, {
  name: 'mcp',
  env: process.env,
  secretsDirs: [],
  log: createLogger({ name: 'mcp', level: 'error' }),
  registry: createRegistry({ component: 'mcp', version: 'bench' }),
  signal: new AbortController().signal,
  version: 'bench',
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.({ port: (app.server.address() as AddressInfo).port })
process.once('SIGTERM', () => void app.close().then(() => process.exit(0)))
