import handler from 'bzzz-function'

import { SERVE_STOP_TIMEOUT_MS } from '../../shared/function/constants.ts'
import { serveFunction } from '../../shared/function/serve.ts'
import { runMain } from '../../shared/process/entry.ts'

await runMain(
  {
    name: process.env['OPENFAAS_NAME'] ?? 'function',
    stopTimeoutMs: SERVE_STOP_TIMEOUT_MS,
    start: (context) => serveFunction(handler, context),
  },
  process,
)
