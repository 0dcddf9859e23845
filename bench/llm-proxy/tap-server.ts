import { createHash } from 'node:crypto'
import type { AddressInfo } from 'node:net'

import fastify from 'fastify'
import { Pool } from 'undici'

/**
 * The least that a proxy which knows what it passes on has to do: check a key, parse the request,
 * hash both directions, look for the usage.
 */
const upstream = new Pool(process.env['UPSTREAM'] ?? '', { connections: 512 })
const key = `Bearer ${process.env['KEY'] ?? ''}`
const app = fastify()
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
  done(null, body),
)
app.post('/v1/chat/completions', async (request, reply) => {
  if (request.headers.authorization !== key) return reply.code(401).send()
  const body = request.body as Buffer
  const { model } = JSON.parse(body.toString()) as { model: string }
  const asked = createHash('sha256').update(body).digest('hex')
  const answer = await upstream.request({
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', authorization: 'Bearer upstream' },
    body,
  })
  const bytes = Buffer.from(await answer.body.arrayBuffer())
  const answered = createHash('sha256').update(bytes).digest('hex')
  const { usage } = JSON.parse(bytes.toString()) as { usage?: object }
  if (!model || !asked || !answered || !usage) throw new Error('nothing was looked at')
  return reply.code(answer.statusCode).type('application/json').send(bytes)
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.({ port: (app.server.address() as AddressInfo).port })
process.once('SIGTERM', () => process.exit(0))
