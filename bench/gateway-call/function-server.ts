import { serveFunction } from '../../shared/function/serve.ts'
import { runMain } from '../../shared/process/entry.ts'
import constant from './functions/constant/handler.ts'

/** The constant function in a process of its own, as its image runs it. */
await runMain({ name: 'constant', start: (context) => serveFunction(constant, context) }, process)
