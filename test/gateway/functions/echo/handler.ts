import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'

import type { FastifyInstance } from 'fastify'

import { BodyTooLargeError } from '../../../../shared/errors.ts'
import type { FunctionContext } from '../../../../shared/function/function.ts'

/** A function whose inside the tests can look at from outside. */
export default async function echo(app: FastifyInstance, context: FunctionContext): Promise<void> {
  const abandoned: string[] = []

  // What arrived here, after everything on the way has touched it.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.all('/seen/*', async ({ method, url, headers, body }) => {
    let sizeBytes = 0
    for await (const chunk of (body ?? []) as AsyncIterable<Buffer>) sizeBytes += chunk.length
    return { method, url, headers, sizeBytes }
  })
  app.get('/', async () => ({ root: true }))
  app.get('/env/:name', async ({ params }) => ({
    value: context.env[(params as { name: string }).name] ?? null,
  }))

  app.get('/secret/:name', async ({ params }) => {
    const { name } = params as { name: string }
    for (const folder of context.secretsDirs) {
      const value = await readFile(join(folder, name), 'utf8').catch(() => null)
      if (value !== null) return { value }
    }
    return { value: null }
  })
  app.post('/log/:text', async ({ params }) => {
    context.log.info({ text: (params as { text: string }).text }, 'told')
    return {}
  })

  // Answers each chunk of the upload as it comes.
  app.post('/mirror', (request, reply) => reply.send(request.raw))

  // Never ends by itself; `/abandoned` tells once its caller has left.
  app.all('/wait/:id', async (request, reply) => {
    request.abandoned.addEventListener('abort', () => {
      abandoned.push((request.params as { id: string }).id)
    })
    reply.hijack()
    reply.raw.setHeader('content-type', 'text/event-stream')
    reply.raw.write('data: waiting\n\n')
  })
  app.get('/abandoned', async () => abandoned)

  // In flight until the function begins to drain; only then the answer comes.
  app.get('/until-drain', async () => {
    await once(context.signal, 'abort')
    return { done: true }
  })
  app.get('/break-off', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/plain' })
    reply.raw.write('half of it', () => reply.raw.destroy())
  })
  app.route({
    method: ['GET', 'HEAD'],
    url: '/answer',
    handler: (_request, reply) =>
      reply
        .code(418)
        .header('x-own', 'kept')
        .header('set-cookie', ['a=1', 'b=2'])
        .type('text/plain')
        .send('short'),
  })
  app.get('/empty', (_request, reply) => reply.code(204).send())
  app.post('/early', async () => {
    throw new BodyTooLargeError('Not a byte of it was read.')
  })

  // More than any buffer holds; `/flooded` tells how much of it has gone out.
  let flooded = 0
  app.get('/flood', (_request, reply) => {
    const chunk = Buffer.alloc(64 * 1024)
    async function* flood() {
      for (let at = 0; at < 4096; at += 1) {
        flooded += chunk.length
        yield chunk
      }
    }
    return reply.type('application/octet-stream').send(Readable.from(flood()))
  })
  app.get('/flooded', async () => ({ bytes: flooded }))
  app.get('/throw', async () => Promise.reject(new Error('the password is hunter2')))
}
