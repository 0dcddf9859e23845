import { StringDecoder } from 'node:string_decoder'

import { request, type Dispatcher } from 'undici'

import { fromWireError } from '../../shared/http/wire-error.ts'
import { unreachable } from '../client/http.ts'

/** A call of a tool may wait for a job; servers end what is slower. */
const ANSWER_TIMEOUT_MS = 120_000

/** Events come at least as often as the server sends signs of life. */
const IDLE_TIMEOUT_MS = 120_000

/** One event: a result with the largest content that a server gives, and room around it. */
const EVENT_CHARS_MAX = 8 * 1024 * 1024

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion'

/** What of a message decides its headers. */
export interface Message {
  id?: unknown
  method?: string
  params?: { name?: unknown; uri?: unknown; _meta?: Record<string, unknown> }
}

export interface HTTPEndpointInit {
  url: string
  token: string
}

/** The MCP endpoint over HTTP: one POST for each message. */
export class HTTPEndpoint {
  readonly #init: HTTPEndpointInit
  /** Of the older era: agreed on at the beginning and told with every message. */
  #agreedVersion: string | undefined

  constructor(init: HTTPEndpointInit) {
    this.#init = init
  }

  /**
   * Sends a message and tells of every message that comes back, until the last.
   * @throws RemoteError for a refusal that is no message, DaemonUnavailableError
   */
  async *send(message: Message, signal: AbortSignal): AsyncGenerator<object> {
    const answer = await this.#post(message, signal)
    const type = String(answer.headers['content-type'] ?? '')
    if (type.startsWith('text/event-stream')) {
      for await (const event of events(answer.body)) yield this.#noted(message, event)
      return
    }
    const text = await answer.body.text()
    if (text === '') return
    const parsed = parseMessage(text)
    // A refusal of HTTP has an error too, but is no message of the protocol.
    if (!parsed) throw fromWireError(answer.statusCode, text)
    yield this.#noted(message, parsed)
  }

  async #post(message: Message, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { url, token } = this.#init
    try {
      return await request(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          authorization: `Bearer ${token}`,
          ...this.#headersOf(message),
        },
        body: JSON.stringify(message),
        headersTimeout: ANSWER_TIMEOUT_MS,
        bodyTimeout: IDLE_TIMEOUT_MS,
        signal,
      })
    } catch (error) {
      signal.throwIfAborted()
      throw unreachable(url, error)
    }
  }

  #headersOf({ method, params }: Message): Record<string, string> {
    const claimed = params?._meta?.[VERSION_KEY]
    if (typeof claimed !== 'string') {
      return this.#agreedVersion ? { 'mcp-protocol-version': this.#agreedVersion } : {}
    }
    const name = method === 'resources/read' ? params?.uri : params?.name
    return {
      'mcp-protocol-version': claimed,
      ...(method !== undefined && { 'mcp-method': method }),
      ...(typeof name === 'string' && { 'mcp-name': headerText(name) }),
    }
  }

  #noted({ method }: Message, answer: object): object {
    const { result } = answer as { result?: { protocolVersion?: unknown } }
    if (method === 'initialize' && typeof result?.protocolVersion === 'string') {
      this.#agreedVersion = result.protocolVersion
    }
    return answer
  }
}

/** As the protocol writes into a header what a header cannot hold. */
function headerText(text: string): string {
  if (/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !text.startsWith('=?')) return text
  return `=?base64?${Buffer.from(text).toString('base64')}?=`
}

function parseMessage(text: string): object | null {
  try {
    const value = JSON.parse(text) as { jsonrpc?: unknown } | null
    return value?.jsonrpc === '2.0' ? value : null
  } catch {
    return null
  }
}

/** The messages of a stream of events. One that ends within an event was cut: that one is lost. */
async function* events(body: AsyncIterable<Buffer>): AsyncGenerator<object> {
  const decoder = new StringDecoder('utf8')
  let text = ''
  for await (const chunk of body) {
    text += decoder.write(chunk)
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      const data = lines.flatMap((line) => (line.startsWith('data:') ? [line.slice(5)] : []))
      const message = parseMessage(data.join('\n'))
      if (message) yield message
    }
    if (text.length > EVENT_CHARS_MAX) throw new Error('An event of the server has no end.')
  }
}
