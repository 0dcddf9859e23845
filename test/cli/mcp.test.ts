import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { HTTPEndpoint } from '../../cli/mcp/http-endpoint.ts'
import { StdioBridge } from '../../cli/mcp/stdio-bridge.ts'
import { until } from '../helpers/mesh.ts'

interface Arrived {
  headers: IncomingMessage['headers']
  message: { id?: number; method: string; params?: Record<string, unknown> }
}

let server: Server
let arrived: Arrived[]
let answer: (message: Arrived['message'], response: ServerResponse) => void

/** What the program reads of us. */
let lines: object[]
let stdin: PassThrough
let done: Promise<void>
let stop: AbortController

beforeEach(async () => {
  arrived = []
  lines = []
  answer = ({ id }, response) => json(response, 200, { jsonrpc: '2.0', id, result: {} })
  server = createServer((request, response) => void receive(request, response))
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  start(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`)
})

afterEach(async () => {
  stdin.end()
  await done
  server.closeAllConnections()
  server.close()
})

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const message = JSON.parse((await buffer(request)).toString()) as Arrived['message']
  arrived.push({ headers: request.headers, message })
  answer(message, response)
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function start(url: string): void {
  stdin = new PassThrough()
  const stdout = new PassThrough()
  stdout.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().split('\n'))
      if (line) lines.push(JSON.parse(line) as object)
  })
  const endpoint = new HTTPEndpoint({ url, token: 'bzzz_x' })
  stop = new AbortController()
  done = new StdioBridge({ endpoint, stdin, stdout }).run(stop.signal)
}

function say(message: object): void {
  stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
}

async function heard(count: number): Promise<object[]> {
  await until(() => lines.length >= count, `${count} lines`)
  return lines
}

describe('stdio-bridge', () => {
  it('sends each message with the headers of its revision and the token', async () => {
    const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' }
    say({ id: 1, method: 'tools/call', params: { name: 'mesh_status', _meta: meta } })
    const uri = 'bzzz://a@b/ä'
    say({ id: 2, method: 'resources/read', params: { uri, _meta: meta } })
    await heard(2)
    expect(arrived.find(({ message }) => message.id === 1)!.headers).toMatchObject({
      authorization: 'Bearer bzzz_x',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'mesh_status',
    })
    const encoded = `=?base64?${Buffer.from(uri).toString('base64')}?=`
    const second = arrived.find(({ message }) => message.id === 2)!
    expect(second.headers['mcp-name']).toBe(encoded)
  })

  it('tells the version that was agreed on with every message after', async () => {
    answer = ({ id }, response) =>
      json(response, 200, { jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25' } })
    say({ id: 1, method: 'initialize', params: {} })
    await heard(1)
    say({ id: 2, method: 'tools/list' })
    await heard(2)
    expect(arrived[0]!.headers['mcp-protocol-version']).toBeUndefined()
    expect(arrived[1]!.headers).toMatchObject({ 'mcp-protocol-version': '2025-11-25' })
    expect(arrived[1]!.headers['mcp-method']).toBeUndefined()
  })

  it('hands on every message of a stream of events, in pieces as they come', async () => {
    answer = ({ id }, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const progress = { jsonrpc: '2.0', method: 'notifications/progress', params: { text: 'ä' } }
      const bytes = Buffer.from(
        `: alive\n\nevent: message\ndata: ${JSON.stringify(progress)}\n\n` +
          `data: ${JSON.stringify({ jsonrpc: '2.0', id, result: {} })}\n\n`,
      )
      const middle = bytes.indexOf('ä') + 1
      response.write(bytes.subarray(0, middle))
      setImmediate(() => response.end(bytes.subarray(middle)))
    }
    say({ id: 7, method: 'tools/call', params: {} })
    expect(await heard(2)).toMatchObject([
      { method: 'notifications/progress', params: { text: 'ä' } },
      { id: 7, result: {} },
    ])
  })

  it('makes a refusal of HTTP an answer, and says nothing to a notification', async () => {
    answer = (_message, response) =>
      json(response, 403, { error: { code: 'BZZZ_SCOPE_MISSING', message: 'No.', requestId: 'r' } })
    say({ method: 'notifications/initialized' })
    say({ id: 3, method: 'tools/call', params: {} })
    expect(await heard(1)).toEqual([
      { jsonrpc: '2.0', id: 3, error: { code: -32_000, message: 'BZZZ_SCOPE_MISSING: No.' } },
    ])
    await until(() => arrived.length === 2, 'both messages')
    expect(lines).toHaveLength(1)
  })

  it('says that an answer was cut off, rather than nothing', async () => {
    answer = (_message, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end('data: {"jsonrpc":"2.0","id":4,"res')
    }
    say({ id: 4, method: 'tools/call', params: {} })
    expect(await heard(1)).toMatchObject([{ id: 4, error: { code: -32_603 } }])
  })

  it('says that nobody is there', async () => {
    stdin.end()
    await done
    start('http://127.0.0.1:9/mcp')
    say({ id: 1, method: 'ping' })
    const [said] = await heard(1)
    expect(said).toMatchObject({ id: 1, error: { code: -32_603 } })
    expect(JSON.stringify(said)).toContain('does not answer')
  })

  it('ends a request that is cancelled, without an answer', async () => {
    const ended: number[] = []
    answer = ({ id }, response) => {
      if (id === 2) return json(response, 200, { jsonrpc: '2.0', id, result: {} })
      response.on('close', () => ended.push(id!))
    }
    say({ id: 1, method: 'tools/call', params: {} })
    await until(() => arrived.length === 1, 'the first message')
    say({ method: 'notifications/cancelled', params: { requestId: 1 } })
    await until(() => ended.includes(1), 'its end')
    say({ id: 2, method: 'ping' })
    expect(await heard(1)).toMatchObject([{ id: 2 }])
  })

  it('answers what is no message and goes on', async () => {
    stdin.write('{"jsonrpc":"1.0"}\n')
    say({ id: 1, method: 'ping' })
    expect(await heard(2)).toMatchObject([{ id: null, error: { code: -32_700 } }, { id: 1 }])
  })

  it('answers what was asked before the program closed its end', async () => {
    let release: () => void = () => undefined
    answer = ({ id }, response) => {
      release = () => json(response, 200, { jsonrpc: '2.0', id, result: {} })
    }
    say({ id: 1, method: 'ping' })
    await until(() => arrived.length === 1, 'the message')
    stdin.end()
    release()
    await done
    expect(lines).toMatchObject([{ id: 1 }])
  })
})
