import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { BodyTooLargeError, InvalidRequestError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { checkBodySize, receiveBody } from '../../shared/http/body.ts'
import { REQUEST_BYTES_MAX } from '../models/constants.ts'
import type { ModelCaller } from '../models/model-caller.ts'
import { MODEL_PATHS, requestHeadSchema, type ModelAnswer } from '../models/model-exchange.ts'

export interface ModelRoutesOptions {
  models: { caller: Pick<ModelCaller, 'list' | 'call'> }
}

/**
 * `GET /v1/shared/models` in OpenAI's form, and its calls for a model that a node shares: the
 * header `bzzz-model` names it, percent-encoded, and `bzzz-served-by` in the answer the node.
 */
export async function modelRoutes(
  app: FastifyInstance,
  { models: { caller } }: ModelRoutesOptions,
): Promise<void> {
  const config = { scope: 'llm:invoke' as const, execTimeoutMs: 0, audit: 'denials' as const }
  app.get('/v1/shared/models', { config }, async () => {
    const data = caller.list().map(({ model, nodes }) => {
      return { id: model, object: 'model', owned_by: 'mesh', nodes }
    })
    return { object: 'list', data }
  })
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    for (const path of MODEL_PATHS) {
      scope.post(`/v1/shared${path}`, { config }, async (request, reply) => {
        const signal = abandonedSignal(reply)
        const { accept } = request.headers
        const head = { path, model: modelOf(request), ...(accept !== undefined && { accept }) }
        const parsed = requestHeadSchema.safeParse(head)
        if (!parsed.success) throw new InvalidRequestError('bzzz-model: name the model.')
        const body = await receive(request)
        await send(reply, await caller.call(parsed.data, body, signal))
      })
    }
  })
}

function modelOf(request: FastifyRequest): string {
  try {
    return decodeURIComponent(String(request.headers['bzzz-model'] ?? ''))
  } catch {
    return ''
  }
}

async function receive(request: FastifyRequest): Promise<Uint8Array> {
  checkBodySize(request, REQUEST_BYTES_MAX)
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of receiveBody(request as FastifyRequest<{ Body: IncomingMessage }>)) {
    length += piece.length
    if (length > REQUEST_BYTES_MAX) {
      throw new BodyTooLargeError(`The body is larger than ${REQUEST_BYTES_MAX} bytes.`)
    }
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

/** Piece by piece, the next when there is room; an answer without an end is cut, never ended. */
async function send(reply: FastifyReply, answer: ModelAnswer): Promise<void> {
  const { raw, request } = reply
  reply.hijack()
  raw.writeHead(answer.status, {
    ...answer.headers,
    'request-id': request.id,
    'bzzz-served-by': answer.peerId,
  })
  try {
    for await (const piece of answer.body) {
      if (!raw.write(piece)) await room(raw)
      if (raw.destroyed) return
    }
    raw.end()
  } catch (error) {
    request.log.warn({ err: error, requestId: request.id }, 'answer of a shared model cut')
    raw.destroy()
  }
}

async function room(raw: ServerResponse): Promise<void> {
  const over = new AbortController()
  const { signal } = over
  const drained = once(raw, 'drain', { signal })
  const gone = once(raw, 'close', { signal })
  await Promise.race([drained, gone]).finally(() => {
    drained.catch(() => undefined)
    gone.catch(() => undefined)
    over.abort()
  })
}
