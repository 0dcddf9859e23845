import { runMain } from '../shared/process/entry.ts'
import { startConnector } from './connector.ts'

await runMain({ name: 'connector', start: startConnector }, process)
