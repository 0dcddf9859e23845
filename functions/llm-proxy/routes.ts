import type { IncomingMessage } from 'node:http'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { InvalidRequestError, ModelNotFoundError, RouteNotFoundError } from '../../shared/errors.ts'
import { toWireError } from '../../shared/http/wire-error.ts'
import type { BodyBudget } from './body/body-budget.ts'
import { ModelRequest } from './body/model-request.ts'
import { receiveWhole } from './body/receive.ts'
import { callerOf } from './call-scope.ts'
import { QUERY_CHARS_MAX } from './constants.ts'
import { bytesMaxOf, ENDPOINTS, MODELS_ENDPOINT, type Endpoint } from './endpoints.ts'
import type { IncomingCall, ModelCalls } from './model-calls.ts'
import { toOpenAIError } from './openai-error.ts'
import type { ModelList } from './upstreams/model-list.ts'

export interface LLMRoutesOptions {
  calls: Pick<ModelCalls, 'run'>
  models: Pick<ModelList, 'list'>
  budget: BodyBudget
}

/** An id of OpenAI and of those who follow it. It becomes a part of a path elsewhere. */
const ID = /^(?!\.{1,2}$)[-\w.]{1,256}$/

/** OpenAI's API; errors are of its shape too. */
export async function llmRoutes(app: FastifyInstance, options: LLMRoutesOptions): Promise<void> {
  // Whatever the content type says, a body is bytes here.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))

  app.setNotFoundHandler((request, reply) => {
    const wire = toWireError(new RouteNotFoundError('There is no such route.'), request.id)
    return reply.code(wire.status).send(toOpenAIError(wire))
  })

  for (const endpoint of ENDPOINTS) {
    app.route<{ Params: { id?: string } }>({
      method: endpoint.method,
      url: endpoint.path,
      config: configOf(endpoint),
      handler: (request, reply) => answer(options, endpoint, request, reply),
    })
  }

  const models = { config: configOf(MODELS_ENDPOINT) }
  app.get('/models', models, async (request) => {
    const data = await options.models.list(request.token ?? '', request.abandoned)
    return { object: 'list', data }
  })
  // Names of models have slashes in them.
  app.get<{ Params: { '*': string } }>('/models/*', models, async (request) => {
    const data = await options.models.list(request.token ?? '', request.abandoned)
    const found = data.find(({ id }) => id === request.params['*'])
    if (found) return found
    throw new ModelNotFoundError('The model does not exist, or no upstream here serves it.')
  })
}

function configOf({ projects }: Endpoint) {
  return {
    scope: 'llm:invoke' as const,
    // Models think for as long as they think; each upstream has time-outs of its own.
    execTimeoutMs: 0,
    errorBody: toOpenAIError,
    // What was let through has a row of its own about usage.
    audit: 'denials' as const,
    ...(projects && { projects }),
  }
}

async function answer(
  { calls, budget }: LLMRoutesOptions,
  endpoint: Endpoint,
  request: FastifyRequest<{ Params: { id?: string } }>,
  reply: FastifyReply,
): Promise<void> {
  const incoming: IncomingCall = {
    endpoint,
    // Before a byte of the body is taken.
    caller: callerOf(request),
    path: pathOf(endpoint, request.params.id),
    query: queryOf(request.raw.url ?? ''),
    model: null,
    body: null,
  }
  if (endpoint.body === 'none') return calls.run(incoming, request, reply)
  const stream = request.body as IncomingMessage | undefined
  if (!stream) throw new InvalidRequestError('The body is empty.')
  if (endpoint.body === 'stream') {
    return calls.run({ ...incoming, body: stream }, request, reply)
  }
  const held = await receiveWhole(stream, budget, { bytesMax: bytesMaxOf(endpoint) })
  try {
    const contentType = request.headers['content-type'] ?? ''
    const model = new ModelRequest(endpoint, held.bytes, contentType)
    await calls.run({ ...incoming, model }, request, reply)
  } finally {
    held.release()
  }
}

function pathOf({ path }: Endpoint, id: string | undefined): string {
  if (id === undefined) return path
  if (!ID.test(id)) throw new InvalidRequestError('The id has letters that no id has.')
  return path.replace(':id', id)
}

/** As it came, but for what decides about the version of an API and is in the configuration. */
function queryOf(url: string): string {
  const at = url.indexOf('?')
  if (at === -1) return ''
  const query = url.slice(at + 1)
  if (query.length > QUERY_CHARS_MAX) throw new InvalidRequestError('The query is too long.')
  const kept = query.split('&').filter((pair) => !/^api-version(?:=|$)/i.test(pair))
  return kept.join('&')
}
