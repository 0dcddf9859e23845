import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { InvalidInvitationError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { INVITATION_LIFETIME_DEFAULT_MS, INVITATION_LIFETIME_MAX_MS } from '../join/constants.ts'
import type { Inviter } from '../join/inviter.ts'
import type { Joiner } from '../join/joiner.ts'
import { isEd25519PeerId } from '../mesh/allow-list.ts'
import type { Admissions } from '../nodes/admissions.ts'

export interface JoinRoutesOptions {
  inviter: Pick<Inviter, 'invite' | 'list' | 'withdraw'>
  joiner: Pick<Joiner, 'join'>
  nodes: { admissions: Pick<Admissions, 'admit' | 'members'> }
  /** Who this node is and where, with its peer id, others may dial it. */
  identity: () => { peerId: string; name: string; addresses: readonly string[] }
}

const inviteBody = z.strictObject({
  lifetimeSeconds: z
    .number()
    .min(1)
    .max(INVITATION_LIFETIME_MAX_MS / 1000)
    .default(INVITATION_LIFETIME_DEFAULT_MS / 1000),
  reusable: z.boolean().default(false),
})

const joinBody = z.strictObject({ invitation: z.string().max(16_384) })

const allowBody = z.strictObject({
  peerId: z.string().refine(isEd25519PeerId, 'is not an Ed25519 peer id'),
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a name such as ironwood'),
})

/**
 * `GET /v1/node`, `POST|GET /v1/invitations`, `DELETE /v1/invitations/:id`, `POST /v1/nodes/join`,
 * `POST /v1/nodes/allow`.
 */
export async function joinRoutes(app: FastifyInstance, options: JoinRoutesOptions): Promise<void> {
  const { inviter, joiner, nodes, identity } = options
  const admin = { config: { scope: 'admin:*' as const } }

  app.get('/v1/node', { config: { scope: 'mesh:read' } }, async () => identity())

  app.post('/v1/invitations', admin, async (request, reply) => {
    const { lifetimeSeconds, reusable } = parseWith(inviteBody, request.body ?? {})
    reply.code(201).header('cache-control', 'no-store')
    return inviter.invite({ lifetimeMs: lifetimeSeconds * 1000, reusable })
  })

  app.get('/v1/invitations', admin, async () => ({
    invitations: inviter
      .list()
      .map(({ id, expiresAt, reusable, uses }) => ({ id, expiresAt, reusable, uses })),
  }))

  app.delete<{ Params: { id: string } }>('/v1/invitations/:id', admin, async (request, reply) => {
    if (!(await inviter.withdraw(request.params.id))) {
      throw new InvalidInvitationError('There is no open invitation of this id on this node.')
    }
    reply.code(204)
  })

  // As long as the other side takes to answer, which has limits of its own.
  const long = { config: { ...admin.config, execTimeoutMs: 0 } }
  app.post('/v1/nodes/join', long, async (request, reply) => {
    const { invitation } = parseWith(joinBody, request.body ?? {})
    return joiner.join(invitation.trim(), abandonedSignal(reply))
  })

  app.post('/v1/nodes/allow', admin, async (request) => {
    const member = parseWith(allowBody, request.body ?? {})
    await nodes.admissions.admit(member)
    return { allowed: member, members: nodes.admissions.members() }
  })
}
