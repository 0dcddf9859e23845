import { PassThrough } from 'node:stream'

import type { FastifyInstance } from 'fastify'

/** Imports nothing of the repository but types: it is built in the place of another handler. */
interface Context {
  name: string
  secretsDirs: readonly string[]
}

/** A function that shows from outside what its host promises it. */
export default async function contract(app: FastifyInstance, context: Context): Promise<void> {
  const gate = Promise.withResolvers<void>()
  const events = new PassThrough()

  app.get('/', async () => ({ name: context.name, secretsDirs: context.secretsDirs }))
  app.get('/throw', async () => Promise.reject(new Error('the password is hunter2')))

  // Answers once `/open` was called.
  app.get('/gate', async () => {
    await gate.promise
    return { open: true }
  })
  app.post('/open', async () => {
    gate.resolve()
    return {}
  })

  // The second event comes when `/next` was called.
  app.get('/events', (_request, reply) => {
    events.write('data: 1\n\n')
    return reply.type('text/event-stream').send(events)
  })
  app.post('/next', async () => {
    events.end('data: 2\n\n')
    return {}
  })

  const short = { config: { execTimeoutMs: 50 } }
  app.get('/late', short, () => new Promise(() => undefined))
  app.get('/late-events', short, (_request, reply) => {
    const stream = new PassThrough()
    stream.write('data: 1\n\n')
    return reply.type('text/event-stream').send(stream)
  })
}
