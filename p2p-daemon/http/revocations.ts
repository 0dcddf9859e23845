import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { STATEMENT_CHARS_MAX } from '../../shared/auth/revocation.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { PUBLIC } from '../../shared/http/service.ts'
import type { RevocationSpread } from '../access/revocation-spread.ts'
import type { RevocationStore } from '../access/revocation-store.ts'

export interface RevocationRoutesOptions {
  revocations: Pick<RevocationStore, 'statements' | 'etag'>
  revocationSpread: Pick<RevocationSpread, 'add'>
}

/** One request revokes the tokens of a team; more of them are several requests. */
const STATEMENTS_MAX = 500

const body = z.strictObject({
  statements: z.array(z.string().max(STATEMENT_CHARS_MAX)).min(1).max(STATEMENTS_MAX),
})

/**
 * `GET POST /v1/revocations`: the signed statements that this node knows, and new ones for it and
 * its peers. The list is public, as such lists are: functions ask for it without a token of their
 * own, and an id of a token that is no good any more helps nobody.
 */
export async function revocationRoutes(
  app: FastifyInstance,
  { revocations, revocationSpread }: RevocationRoutesOptions,
): Promise<void> {
  app.get('/v1/revocations', PUBLIC, async (request, reply) => {
    const etag = revocations.etag()
    reply.header('etag', etag).header('cache-control', 'no-cache')
    if (request.headers['if-none-match'] === etag) return reply.code(304).send()
    return { statements: revocations.statements() }
  })

  app.post('/v1/revocations', { config: { scope: 'admin:*' } }, async (request, reply) => {
    const { statements } = parseWith(body, request.body)
    return revocationSpread.add(statements, abandonedSignal(reply))
  })
}
