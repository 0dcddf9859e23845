import type { FastifyInstance } from 'fastify'

/** Takes any body and answers a constant: what is measured lies before it. */
export default async function constant(app: FastifyInstance): Promise<void> {
  const answer = { constant: 'x'.repeat(600) }
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.post('/*', async () => answer)
}
