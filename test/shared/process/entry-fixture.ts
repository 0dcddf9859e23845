import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { InvalidConfigError } from '../../../shared/errors.ts'
import { runMain } from '../../../shared/process/entry.ts'

// A process with the life of a real one, whose case is chosen by the test that spawns it.
await runMain(
  {
    name: 'fixture',
    stopTimeoutMs: 200,
    start: async ({ env, signal }) => {
      if (env['CASE'] === 'bad config') throw new InvalidConfigError('BZZZ_X: must be set')
      if (env['CASE'] === 'slow start') {
        process.send?.({ starting: true })
        await new Promise((_, reject) => {
          const timer = setInterval(() => undefined, 1000)
          signal.addEventListener('abort', () => {
            clearInterval(timer)
            reject(signal.reason as Error)
          })
        })
      }
      const server = createServer()
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(Number(env['PORT'] ?? 0), '127.0.0.1', resolve)
      })
      return {
        ports: { http: (server.address() as AddressInfo).port },
        stop: async () => {
          if (env['CASE'] === 'hanging stop') await new Promise(() => undefined)
          if (env['CASE'] === 'failing stop') throw new Error('the disk is gone')
          server.close()
        },
      }
    },
  },
  process,
)
