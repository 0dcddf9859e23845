import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { startGateway } from '../../gateway/gateway.ts'
import type { Running } from '../../shared/process/entry.ts'
import { createTestTokens, type TestTokens } from './tokens.ts'

const ECHO_HANDLER = join(import.meta.dirname, '..', 'gateway', 'functions', 'echo')

/** A stack file with the fixture function, and what a test adds to it. */
export function echoStack(more = ''): string {
  return `
version: 1.0
provider: {name: openfaas}
functions:
  echo:
    lang: node24-ts
    handler: ${ECHO_HANDLER}
    image: registry.example/echo:v1
    environment: {GREETING: hello}
    annotations: {bzzz.port: 0}
${more}`
}

export interface TestGateway {
  folder: string
  tokens: TestTokens
  /** Of an administrator. */
  token: string
  readonly url: string
  readonly ports: Readonly<Record<string, number>>
  /** As an administrator; an object is sent as JSON. */
  system(method: string, path: string, body?: object): Promise<Response>
  /** Stops it and starts it again over the same data. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** A gateway over a stack file, in this process, on free ports, with a data folder of its own. */
export async function startTestGateway(
  init: { stack?: string; env?: Record<string, string> } = {},
): Promise<TestGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'bzzz-gateway-'))
  const tokens = await createTestTokens(folder)
  const token = await tokens.create()
  await writeFile(join(folder, 'stack.yml'), init.stack ?? echoStack())
  const env = {
    BZZZ_GATEWAY_PORT: '0',
    BZZZ_GATEWAY_METRICS_PORT: '0',
    BZZZ_GATEWAY_DATA_DIR: join(folder, 'data'),
    BZZZ_STACK_FILE: join(folder, 'stack.yml'),
    BZZZ_TOKEN_KEYS_FILE: tokens.keysFile,
    BZZZ_LOG_LEVEL: 'silent',
    ...init.env,
  }
  const start = () => startGateway({ env, signal: new AbortController().signal, arch: 'x64' })
  let running: Running = await start()
  const urlOf = () => `http://127.0.0.1:${running.ports['gateway']}`
  return {
    folder,
    tokens,
    token,
    get url() {
      return urlOf()
    },
    get ports() {
      return running.ports
    },
    system: (method, path, body) =>
      fetch(`${urlOf()}/system/${path}`, {
        method,
        headers: { authorization: `Bearer ${token}` },
        // A plain client says nothing of the content type, as faas-cli does.
        body: body ? Buffer.from(JSON.stringify(body)) : null,
      }),
    restart: async () => {
      await running.stop()
      running = await start()
    },
    stop: async () => {
      await running.stop()
      await rm(folder, { recursive: true })
    },
  }
}
