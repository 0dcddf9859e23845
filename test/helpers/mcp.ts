import type { FastifyInstance } from 'fastify'

import mcp from '../../functions/mcp/handler.ts'
import { createFunctionApp } from '../../shared/function/host.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'

export interface TestMcp {
  app: FastifyInstance
  /** Of the endpoint. */
  url: string
  registry: Registry
  close(): Promise<void>
}

/** The function on a port of its own, in front of a daemon that runs. */
export async function startMcp(
  daemon: { url: string; tokens: { keysFile: string } },
  env: Record<string, string> = {},
): Promise<TestMcp> {
  const registry = new Registry()
  const app = await createFunctionApp(mcp, {
    name: 'mcp',
    env: { BZZZ_ENDPOINT: daemon.url, BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile, ...env },
    secretsDirs: [],
    log: createSilentLogger(),
    registry,
    signal: new AbortController().signal,
    version: 'test',
  })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, registry, url: `${origin}/mcp`, close: () => app.close() }
}

export const MODERN = '2026-07-28'

interface Message {
  method: string
  params?: Record<string, unknown>
  id?: number | string
}

/** One message of the newer era with the headers it needs. */
export function modernRequest(token: string, { method, params = {}, id = 1 }: Message) {
  const name = params['name'] ?? params['uri']
  const meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    ...(params['_meta'] as object | undefined),
  }
  return {
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': MODERN,
      'mcp-method': method,
      ...(typeof name === 'string' && { 'mcp-name': name }),
    },
    body: { jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } },
  }
}

export interface RPCAnswer {
  status: number
  headers: Headers
  body: {
    id?: unknown
    result?: Record<string, unknown> & { structuredContent?: Record<string, unknown> }
    error?: { code: number | string; message: string; data?: unknown }
  }
}

/** Sends one message and reads the one answer. */
export async function ask(url: string, token: string, message: Message): Promise<RPCAnswer> {
  const { headers, body } = modernRequest(token, message)
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await answer.text()
  return {
    status: answer.status,
    headers: answer.headers,
    body: (text === '' ? {} : JSON.parse(text)) as RPCAnswer['body'],
  }
}

/** Calls a tool and answers what it answered. */
export function callTool(url: string, token: string, name: string, args: object = {}) {
  return ask(url, token, { method: 'tools/call', params: { name, arguments: args } })
}
