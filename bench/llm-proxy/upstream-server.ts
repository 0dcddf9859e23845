import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Where the number of an answer stands: no two are the same, as with a real model. */
const NUMBER = '000000000000'

/** A model that answers at once: what is measured is what stands between it and the caller. */
const COMPLETION = Buffer.from(
  JSON.stringify({
    id: `chatcmpl-${NUMBER}`,
    object: 'chat.completion',
    created: 1_750_000_000,
    model: 'gpt-4o-mini',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'word '.repeat(60), refusal: null },
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 30, completion_tokens: 60, total_tokens: 90 },
  }),
)

const CHUNK = Buffer.from(
  'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini",' +
    '"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n',
)

const NUMBER_AT = COMPLETION.indexOf(NUMBER)

let open = 0
let answers = 0

function complete(): Buffer {
  answers += 1
  const bytes = Buffer.from(COMPLETION)
  bytes.write(String(answers).padStart(NUMBER.length, '0'), NUMBER_AT)
  return bytes
}

/** `user: "hold"` gets the first event and then nothing; others all of them. */
function stream(response: ServerResponse, isHeld: boolean): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  open += 1
  response.on('close', () => {
    open -= 1
    if (!response.writableFinished) process.send?.({ abandonedAtMs: Date.now() })
  })
  response.write(CHUNK)
  if (isHeld) return
  for (let chunk = 0; chunk < 20; chunk += 1) response.write(CHUNK)
  response.end('data: [DONE]\n\n')
}

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.end(String(open))
    return
  }
  const pieces: Buffer[] = []
  request.on('data', (piece: Buffer) => pieces.push(piece))
  request.on('end', () => {
    const body = Buffer.concat(pieces)
    if (body.includes('"stream":true')) return stream(response, body.includes('"hold"'))
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': COMPLETION.length,
    })
    response.end(complete())
  })
})
server.keepAliveTimeout = 60_000
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port })
})
process.once('SIGTERM', () => process.exit(0))
