import { Agent, request } from 'undici'

import { startChild } from '../../test/helpers/child.ts'
import { startDaemons } from '../../test/helpers/daemons.ts'
import { startTestPostgres } from '../../test/helpers/postgres.ts'

export interface Stage {
  /** Of a database with the schema, for whoever measures it alone. */
  databaseURL: string
  post(path: string, body: object): Promise<void>
  get(path: string): Promise<unknown>
  stop(): Promise<void>
}

/** One node, embedded Postgres and the function threads, each a process of its own. */
export async function startStage(connections: number): Promise<Stage> {
  const postgres = await startTestPostgres()
  const { url: databaseURL } = await postgres.openMigrated()
  const daemons = await startDaemons(1, { env: { DATABASE_URL: databaseURL } })
  const server = await startChild<{ port: number }>(
    new URL('../../test/helpers/thread-function.ts', import.meta.url),
    {
      env: {
        DATABASE_URL: databaseURL,
        BZZZ_ENDPOINT: daemons.urls[0]!,
        BZZZ_TOKEN_KEYS_FILE: daemons.tokenKeysFile,
      },
    },
  )
  const dispatcher = new Agent({ connections })
  const base = `http://127.0.0.1:${server.ready.port}/v1/threads`
  const headers = { authorization: `Bearer ${daemons.token}`, 'content-type': 'application/json' }
  const answered = async (path: string, init: object): Promise<unknown> => {
    const { statusCode, body } = await request(base + path, { headers, dispatcher, ...init })
    const answer = await body.json()
    if (statusCode >= 400) throw new Error(`${path}: ${statusCode} ${JSON.stringify(answer)}`)
    return answer
  }
  return {
    databaseURL,
    post: async (path, body) => {
      await answered(path, { method: 'POST', body: JSON.stringify(body) })
    },
    get: (path) => answered(path, {}),
    stop: async () => {
      await dispatcher.close()
      await server.stop()
      await daemons.stop()
      await postgres.stop()
    },
  }
}

export function nameOf(thread: string): string {
  return encodeURIComponent(`bzzz://bench@bench/${thread}`)
}
