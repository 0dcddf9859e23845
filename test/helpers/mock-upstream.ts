import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A request as the upstream got it. */
export interface MockCall {
  method: string
  /** With the query. */
  path: string
  headers: IncomingHttpHeaders
  body: Buffer
  /** True when whoever asked was gone before the answer had ended. */
  abandoned: boolean
}

/** What the upstream does with one request. */
export type MockAnswer = (response: ServerResponse, call: MockCall) => void | Promise<void>

/**
 * A server in place of OpenAI's that does what a test tells it to: answers wait in a queue, and
 * when it is empty `otherwise` is given.
 */
export class MockUpstream {
  readonly calls: MockCall[] = []
  readonly #server: Server
  readonly #queue: MockAnswer[] = []
  #port = 0
  otherwise: MockAnswer = json(chatCompletion())

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const call: MockCall = {
          method: request.method ?? '',
          path: request.url ?? '',
          headers: request.headers,
          body: Buffer.concat(chunks),
          abandoned: false,
        }
        this.calls.push(call)
        response.on('close', () => (call.abandoned = !response.writableFinished))
        const answer = this.#queue.shift() ?? this.otherwise
        void answer(response, call)
      })
    })
  }

  static async start(): Promise<MockUpstream> {
    const mock = new MockUpstream()
    mock.#server.listen({ host: '127.0.0.1', port: 0 })
    await once(mock.#server, 'listening')
    mock.#port = (mock.#server.address() as AddressInfo).port
    return mock
  }

  /** Its base URL, as a client of OpenAI is given it. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1`
  }

  get last(): MockCall {
    const call = this.calls.at(-1)
    if (!call) throw new Error('The upstream was not called.')
    return call
  }

  next(...answers: MockAnswer[]): void {
    this.#queue.push(...answers)
  }

  /** Forgets what was asked and what was to be answered. */
  reset(): void {
    this.calls.length = 0
    this.#queue.length = 0
    this.otherwise = json(chatCompletion())
  }

  /** Where it was before it was closed. */
  async reopen(): Promise<void> {
    this.#server.listen({ host: '127.0.0.1', port: this.#port })
    await once(this.#server, 'listening')
  }

  async close(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close').catch(() => undefined)
  }
}

export interface MockUsage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details?: { cached_tokens: number }
  completion_tokens_details?: { reasoning_tokens: number }
}

export const USAGE: MockUsage = {
  prompt_tokens: 19,
  completion_tokens: 10,
  total_tokens: 29,
  prompt_tokens_details: { cached_tokens: 7 },
  completion_tokens_details: { reasoning_tokens: 4 },
}

export function chatCompletion(init: { content?: string; usage?: MockUsage | null } = {}): object {
  const { content = 'Hello there.', usage = USAGE } = init
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_750_000_000,
    model: 'gpt-test-2026-01-01',
    choices: [
      { index: 0, message: { role: 'assistant', content, refusal: null }, finish_reason: 'stop' },
    ],
    ...(usage && { usage }),
    x_unknown: { kept: true },
  }
}

/** How a stream tells what it used: in a chunk without choices, in the last one with, or not. */
export type UsageShape = 'own chunk' | 'last chunk' | 'none'

/** The events of a streamed chat, each with its blank line; comments and unknown fields too. */
export function chatEvents(
  init: { words?: readonly string[]; usage?: MockUsage; shape?: UsageShape } = {},
): string[] {
  const { words = ['Hel', 'lo ', 'thère.'], usage = USAGE, shape = 'own chunk' } = init
  const chunk = (choices: object[], more: object = {}) =>
    `data: ${JSON.stringify({
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 1_750_000_000,
      model: 'gpt-test-2026-01-01',
      choices,
      ...more,
    })}\n\n`
  const empty = shape === 'own chunk' ? { usage: null } : {}
  const stop = [{ index: 0, delta: {}, finish_reason: 'stop' }]
  return [
    ': a comment\n\n',
    chunk([{ index: 0, delta: { role: 'assistant', content: '' }, x_unknown: [1, null] }], empty),
    ...words.map((content) => chunk([{ index: 0, delta: { content } }], empty)),
    chunk(stop, shape === 'last chunk' ? { usage } : empty),
    ...(shape === 'own chunk' ? [chunk([], { usage })] : []),
    'data: [DONE]\n\n',
  ]
}

const EVENTS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

export function json(
  value: object,
  status = 200,
  headers: Record<string, string> = {},
): MockAnswer {
  return (response) => {
    const bytes = Buffer.from(JSON.stringify(value))
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': bytes.length,
      'x-request-id': 'req_mock',
      ...headers,
    })
    response.end(bytes)
  }
}

/** An error as OpenAI answers it. */
export function failure(status: number, headers: Record<string, string> = {}): MockAnswer {
  const error = {
    message: `mock ${status}`,
    type: 'mock_error',
    param: null,
    code: `mock_${status}`,
  }
  return json({ error }, status, headers)
}

/** The pieces one after the other, each in a write of its own. */
export function events(
  pieces: readonly (string | Buffer)[],
  pause?: () => Promise<void>,
): MockAnswer {
  return async (response) => {
    response.writeHead(200, EVENTS)
    for (const piece of pieces) {
      response.write(piece)
      await (pause ?? nextTurn)()
      if (response.destroyed) return
    }
    response.end()
  }
}

/** The connection is gone before a byte of an answer. */
export function resetBefore(): MockAnswer {
  return (response) => void response.socket?.resetAndDestroy()
}

/** The head of an answer, and then nothing but the end of the connection. */
export function resetAfterHead(): MockAnswer {
  return (response) => {
    response.writeHead(200, EVENTS)
    response.flushHeaders()
    setImmediate(() => response.socket?.resetAndDestroy())
  }
}

/** The first pieces, and then the end of the connection in the middle of all. */
export function resetInside(pieces: readonly string[]): MockAnswer {
  return async (response) => {
    response.writeHead(200, EVENTS)
    for (const piece of pieces) response.write(piece)
    await nextTurn()
    response.socket?.destroySoon()
  }
}

/** The pieces, and then neither a byte nor an end. */
export function stall(pieces: readonly string[] = []): MockAnswer {
  return (response) => {
    if (pieces.length === 0) return
    response.writeHead(200, EVENTS)
    for (const piece of pieces) response.write(piece)
  }
}

/** A transfer encoding that is none. */
export function malformed(pieces: readonly string[], nonsense = 'this is no chunk'): MockAnswer {
  return (response) => {
    response.writeHead(200, EVENTS)
    for (const piece of pieces) response.write(piece)
    setImmediate(() => response.socket?.end(`zzz\r\n${nonsense}\r\n`))
  }
}

/** No length and no chunks: the answer ends where the connection does. */
export function undelimited(pieces: readonly string[]): MockAnswer {
  return (response) => {
    const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n'
    response.socket?.end(head + pieces.join(''))
  }
}

/** So many bytes of something, as fast as they are taken. */
export function large(bytes: number, contentType = 'application/octet-stream'): MockAnswer {
  return async (response) => {
    response.writeHead(200, { 'content-type': contentType, 'content-length': bytes })
    const piece = Buffer.alloc(64 * 1024, 'x')
    let goOn = (): void => undefined
    response.on('drain', () => goOn())
    response.on('close', () => goOn())
    for (let sent = 0; sent < bytes; sent += piece.length) {
      const wait = new Promise<void>((resolve) => (goOn = resolve))
      const goesOn = response.write(piece.subarray(0, Math.min(piece.length, bytes - sent)))
      if (!goesOn) await wait
      if (response.destroyed) return
    }
    response.end()
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
