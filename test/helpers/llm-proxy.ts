import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { FastifyInstance } from 'fastify'
import OpenAI from 'openai'

import llmProxy from '../../functions/llm-proxy/handler.ts'
import { createFunctionApp } from '../../shared/function/host.ts'
import { createSilentLogger, type Logger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { createTestTokens, type TestTokens } from './tokens.ts'

export interface TestProxy {
  app: FastifyInstance
  /** With `/v1`: what a client is given. */
  baseURL: string
  tokens: TestTokens
  /** Of an agent that may call models for any project. */
  token: string
  registry: Registry
  folder: string
  client(token?: string): OpenAI
  call(path: string, init?: RequestInit): Promise<Response>
  close(): Promise<void>
}

/**
 * The function as it runs, on a port of its own, with a configuration of upstreams or with
 * variables. The daemon it is given does not exist unless the test says where one is.
 */
export async function startProxy(init: {
  config?: object
  env?: Record<string, string>
  secrets?: Record<string, string>
  log?: Logger
}): Promise<TestProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'bzzz-llm-'))
  const tokens = await createTestTokens(folder)
  for (const [name, text] of Object.entries(init.secrets ?? {})) {
    writeFileSync(join(folder, name), text)
  }
  const env: Record<string, string> = {
    BZZZ_TOKEN_KEYS_FILE: tokens.keysFile,
    BZZZ_ENDPOINT: 'http://127.0.0.1:9',
    BZZZ_LLM_RECORD: 'off',
    max_inflight: '2048',
    ...init.env,
  }
  if (init.config) {
    env['BZZZ_LLM_CONFIG_FILE'] = join(folder, 'llm.json')
    writeFileSync(env['BZZZ_LLM_CONFIG_FILE'], JSON.stringify(init.config))
  }
  const registry = new Registry()
  const app = await createFunctionApp(llmProxy, {
    name: 'llm-proxy',
    env,
    secretsDirs: [folder],
    log: init.log ?? createSilentLogger(),
    registry,
    signal: new AbortController().signal,
    version: 'test',
  })
  const baseURL = `${await app.listen({ host: '127.0.0.1', port: 0 })}/v1`
  const token = await tokens.create({ role: 'agent', subject: 'coder' })
  return {
    app,
    baseURL,
    tokens,
    token,
    registry,
    folder,
    client: (apiKey = token) => new OpenAI({ baseURL, apiKey, maxRetries: 0 }),
    call: (path, request = {}) => {
      const headers = new Headers(request.headers)
      if (!headers.has('authorization')) headers.set('authorization', `Bearer ${token}`)
      return fetch(baseURL + path, { ...request, headers })
    },
    close: async () => {
      await app.close()
      rmSync(folder, { recursive: true })
    },
  }
}

/** A POST of JSON, as a client of OpenAI sends it. */
export function post(body: object | string, headers: Record<string, string> = {}): RequestInit {
  return {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  }
}
