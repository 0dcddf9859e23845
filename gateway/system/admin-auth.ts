import type { FastifyInstance } from 'fastify'

import { ADMIN_USER } from '../constants.ts'

/** Everything that tells of functions, or changes them, is for administrators. */
export const ADMIN = { config: { scope: 'admin:*' as const } }

/** OpenFaaS's tools know basic authentication alone; both are offered to a stranger. */
const CHALLENGE = 'Basic realm="Restricted", Bearer realm="bzzz"'

/**
 * Lets `faas-cli login --username admin --password <admin token>` work: the password of basic
 * authentication is taken as the bearer token that the routes ask for. Register it before those.
 */
export function acceptBasicAuth(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const token = passwordOf(request.headers.authorization ?? '')
    if (token !== null) request.raw.headers.authorization = `Bearer ${token}`
  })
  app.addHook('onSend', async (_request, reply, payload) => {
    if (reply.statusCode === 401) reply.header('www-authenticate', CHALLENGE)
    return payload
  })
}

function passwordOf(authorization: string): string | null {
  const match = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(authorization)
  if (!match) return null
  const text = Buffer.from(match[1]!, 'base64').toString('utf8')
  return text.startsWith(`${ADMIN_USER}:`) ? text.slice(ADMIN_USER.length + 1) : null
}
