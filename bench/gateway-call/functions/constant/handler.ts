import type { FastifyInstance } from 'fastify'

/** The least a function can do. The peer answers the same constant. */
export default async function constant(app: FastifyInstance): Promise<void> {
  const answer = { constant: 'x'.repeat(600) }
  app.get('/*', async () => answer)
}
