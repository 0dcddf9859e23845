import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'

import type { FastifyReply, FastifyRequest } from 'fastify'

/** What the SDK's handler takes. Its body is passed beside it, parsed. */
export function toWebRequest(request: FastifyRequest): Request {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    if (typeof value === 'string') headers.set(name, value)
  }
  // Only the path is looked at, and by nobody here.
  const url = `http://localhost${request.url}`
  return new Request(url, { method: request.method, headers, signal: request.abandoned })
}

export async function sendWebResponse(
  reply: FastifyReply,
  response: Response,
): Promise<FastifyReply> {
  reply.code(response.status)
  for (const [name, value] of response.headers) reply.header(name, value)
  if (response.body === null) return reply.send()
  const isEvents = response.headers.get('content-type') === 'text/event-stream'
  if (!isEvents) return reply.send(await response.text())
  return reply.send(Readable.fromWeb(response.body as ReadableStream))
}
