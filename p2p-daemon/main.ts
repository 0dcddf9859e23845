import { runMain } from '../shared/process/entry.ts'
import { readDaemonConfig } from './config.ts'
import { startDaemon } from './daemon.ts'

await runMain(
  {
    name: 'p2p-daemon',
    start: ({ env, signal }) => startDaemon(readDaemonConfig(env), signal),
  },
  process,
)
