import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import type { Nodes } from '../nodes/nodes.ts'

export interface NodeRoutesOptions {
  nodes: Nodes
}

const removeBody = z.strictObject({ force: z.boolean().default(false) })

interface NodeParams {
  Params: { node: string }
}

/**
 * `GET /v1/nodes`, `POST|DELETE /v1/nodes/:node/drain`, `POST /v1/nodes/:node/remove`. A node is
 * named by its peer id or its name.
 */
export async function nodeRoutes(
  app: FastifyInstance,
  { nodes }: NodeRoutesOptions,
): Promise<void> {
  const manage = { config: { scope: 'node:manage' as const } }
  const admin = { config: { scope: 'admin:*' as const } }

  app.get('/v1/nodes', { config: { scope: 'mesh:read' } }, async (_request, reply) => ({
    nodes: await nodes.list(abandonedSignal(reply)),
  }))

  app.post<NodeParams>('/v1/nodes/:node/drain', manage, async (request, reply) => {
    const peerId = nodes.find(request.params.node)
    reply.code(202)
    return { peerId, ...(await nodes.drain(peerId, true, abandonedSignal(reply))) }
  })

  app.delete<NodeParams>('/v1/nodes/:node/drain', manage, async (request, reply) => {
    const peerId = nodes.find(request.params.node)
    return { peerId, ...(await nodes.drain(peerId, false, abandonedSignal(reply))) }
  })

  app.post<NodeParams>('/v1/nodes/:node/remove', admin, async (request, reply) => {
    const peerId = nodes.find(request.params.node)
    const { force } = parseWith(removeBody, request.body ?? {})
    return nodes.remove(peerId, { force, signal: abandonedSignal(reply) })
  })
}
