import type { AddressInfo } from 'node:net'

import fastify from 'fastify'

/** Fastify answering a constant of the size of a record: the floor of an HTTP answer. */
const app = fastify()
const constant = { constant: 'x'.repeat(Number(process.env['CONSTANT_BYTES'] ?? '600')) }
app.get('/*', async () => constant)
await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.({ port: (app.server.address() as AddressInfo).port })
process.once('SIGTERM', () => void app.close().then(() => process.exit(0)))
