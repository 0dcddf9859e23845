import type { FastifyReply } from 'fastify'

import { CallerLeftError } from '../errors.ts'

/**
 * Aborts when the caller leaves before the answer is complete. Node's own `request.signal` is not
 * it: that one aborts as soon as the body of a PUT has been read.
 */
export function abandonedSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new CallerLeftError('The caller left.'))
  })
  return controller.signal
}
