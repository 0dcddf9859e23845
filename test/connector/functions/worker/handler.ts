import { setTimeout as sleep } from 'node:timers/promises'

import type { FastifyInstance, FastifyRequest } from 'fastify'

import type { FunctionContext } from '../../../../shared/function/function.ts'
import { startProgress, wantsProgress } from '../../../../shared/function/progress.ts'

/**
 * What the tests of the connector call. Its calls and its effects are counted in this process, by
 * the text of the body; an effect happens once for each idempotency key.
 */
interface Seen {
  calls: Map<string, number>
  effects: Map<string, string[]>
  headers: Map<string, Record<string, unknown>>
}

const seen = ((globalThis as { workerSeen?: Seen }).workerSeen ??= {
  calls: new Map(),
  effects: new Map(),
  headers: new Map(),
})

export default async function worker(app: FastifyInstance, context: FunctionContext) {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  const { name } = context

  app.post('/', async (request) => {
    note(request, name)
    return { name, got: textOf(request) }
  })
  app.post<{ Params: { status: string; times: string } }>(
    '/fail/:status/:times',
    async (request, reply) => {
      const calls = note(request, name)
      if (calls > Number(request.params.times)) return { name, calls }
      if (request.headers['x-ask']) reply.header('retry-after', '1')
      return reply.code(Number(request.params.status)).send({ reason: `no luck ${calls}` })
    },
  )
  app.post('/hang', async (request) => {
    note(request, name)
    await sleep(600_000, undefined, { signal: request.abandoned }).catch(() => undefined)
    seen.effects.set(`abandoned ${textOf(request)}`, [])
    return {}
  })
  app.post('/progress', async (request, reply) => {
    note(request, name)
    if (!wantsProgress(request)) return { done: true }
    const progress = startProgress(reply)
    progress.report(40, 'half way')
    while (!seen.calls.has(`go on ${textOf(request)}`)) await sleep(10)
    progress.finish({ status: 200, contentType: 'application/json', body: '{"done":true}' })
    return reply
  })
  app.post('/cut', async (request, reply) => {
    const calls = note(request, name)
    const progress = startProgress(reply)
    progress.report(10)
    if (calls === 1) setTimeout(() => reply.raw.destroy(), 10)
    else progress.finish({ status: 200, contentType: 'text/plain', body: 'whole' })
    return reply
  })
  app.post('/large', async () => 'x'.repeat(300 * 1024))
  app.post('/bytes', async (_request, reply) =>
    reply.type('application/octet-stream').send(Buffer.from([0, 255, 254])),
  )
}

/** How often a call with this body has come to this function. */
function note(request: FastifyRequest, name: string): number {
  const text = `${name} ${textOf(request)}`
  const calls = (seen.calls.get(text) ?? 0) + 1
  seen.calls.set(text, calls)
  const key = String(request.headers['idempotency-key'])
  const effects = seen.effects.get(text) ?? []
  if (!effects.includes(key)) effects.push(key)
  seen.effects.set(text, effects)
  seen.headers.set(text, request.headers)
  return calls
}

function textOf({ body }: FastifyRequest): string {
  return typeof body === 'string' ? body : ''
}
