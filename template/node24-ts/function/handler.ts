import type { FastifyInstance } from 'fastify'

/** Where a new function begins. It may import `../../shared/...` once it lies in functions/NAME. */
export default async function handler(app: FastifyInstance): Promise<void> {
  app.get('/', async () => ({ hello: 'world' }))
}
