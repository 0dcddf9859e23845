import llmProxy from '../../functions/llm-proxy/handler.ts'
import { runMain } from '../../shared/process/entry.ts'
import { serveFunction } from '../../shared/function/serve.ts'

/** The function as it runs in a container of its own. */
await runMain(
  {
    name: 'llm-proxy',
    start: (context) => serveFunction(llmProxy, context),
    stopTimeoutMs: 60_000,
  },
  process,
)
