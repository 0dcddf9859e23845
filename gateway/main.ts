import { runMain } from '../shared/process/entry.ts'
import { startGateway } from './gateway.ts'

await runMain(
  {
    name: 'gateway',
    start: (context) => startGateway({ ...context, arch: process.arch }),
  },
  process,
)
