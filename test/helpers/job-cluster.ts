import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { startConnector } from '../../connector/connector.ts'
import { startGateway } from '../../gateway/gateway.ts'
import type { Running } from '../../shared/process/entry.ts'
import type { JobJSON } from '../../shared/queue/job-json.ts'
import { createQueueDatabase, startQueueServer } from './queue-server.ts'
import { createTestTokens, type TestTokens } from './tokens.ts'

/** A function of a test's stack file. */
export interface TestFunction {
  handler: string
  annotations?: Record<string, string>
  environment?: Record<string, string>
}

/** Gateway, connector and queue in this process. */
export interface JobCluster {
  url: string
  connectorURL: string
  databaseURL: string
  admin: string
  tokens: TestTokens
  folder: string
  gatewayEnv: Record<string, string>
  connectorEnv: Record<string, string>
  submit(path: string, init?: { body?: string; headers?: Record<string, string> }): Promise<string>
  job(id: string): Promise<JobJSON>
  system(path: string, init?: RequestInit): Promise<Response>
  stop(): Promise<void>
}

export function stackOf(functions: Record<string, TestFunction>): string {
  const entries = Object.entries(functions).map(([name, { handler, annotations, environment }]) => [
    name,
    { lang: 'node24-ts', handler, image: `${name}:v1`, annotations, environment },
  ])
  const stack = {
    version: '1.0',
    provider: { name: 'openfaas' },
    functions: Object.fromEntries(entries) as object,
  }
  // JSON is YAML.
  return JSON.stringify(stack)
}

export async function startJobCluster(
  functions: Record<string, TestFunction>,
  env: Record<string, string> = {},
  /** A server of the caller, who also stops it. */
  server?: { url: string },
): Promise<JobCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'bzzz-jobs-'))
  const database = server ? { ...server, stop: () => Promise.resolve() } : await openDatabase()
  const tokens = await createTestTokens(folder)
  const admin = await tokens.create()
  await writeFile(join(folder, 'stack.yml'), stackOf(functions))
  const common = { DATABASE_URL: database.url, BZZZ_LOG_LEVEL: 'silent' }
  const gatewayEnv = {
    ...common,
    BZZZ_GATEWAY_PORT: '0',
    BZZZ_GATEWAY_METRICS_PORT: '0',
    BZZZ_GATEWAY_DATA_DIR: join(folder, 'gateway'),
    BZZZ_STACK_FILE: join(folder, 'stack.yml'),
    BZZZ_TOKEN_KEYS_FILE: tokens.keysFile,
    ...env,
  }
  const { signal } = new AbortController()
  const gateway = await startGateway({ env: gatewayEnv, signal, arch: 'x64' })
  const url = `http://127.0.0.1:${gateway.ports['gateway']}`
  const connectorEnv = {
    ...common,
    BZZZ_GATEWAY_URL: url,
    BZZZ_TOKEN: admin,
    BZZZ_CONNECTOR_PORT: '0',
    // Longer than a busy machine keeps this process waiting: a lost lock is another call.
    BZZZ_JOB_LOCK: '10s',
    BZZZ_POLL_INTERVAL: '200ms',
    BZZZ_STOP_TIMEOUT: '1s',
    ...env,
  }
  const connector = await startConnector({ env: connectorEnv, signal })
  const system = (path: string, init: RequestInit = {}) =>
    fetch(url + path, { ...init, headers: { authorization: `Bearer ${admin}` } })
  return {
    ...{ url, admin, tokens, folder, gatewayEnv, connectorEnv, system },
    databaseURL: database.url,
    connectorURL: `http://127.0.0.1:${connector.ports['connector']}`,
    submit: async (path, init = {}) => {
      const answer = await fetch(`${url}/async-function/${path}`, { ...init, method: 'POST' })
      if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`)
      return answer.headers.get('x-call-id')!
    },
    job: async (id) =>
      (await (await system(`/system/jobs/${encodeURIComponent(id)}`)).json()) as JobJSON,
    stop: async () => {
      const parts: Running[] = [connector, gateway]
      for (const part of parts) await part.stop()
      await database.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function openDatabase(): Promise<{ url: string; stop(): Promise<void> }> {
  const { DATABASE_URL } = process.env
  if (DATABASE_URL === undefined) return startQueueServer()
  const database = await createQueueDatabase(DATABASE_URL)
  return { url: database.url, stop: () => database.drop() }
}
