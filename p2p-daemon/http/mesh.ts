import type { FastifyInstance } from 'fastify'

import type { Mesh } from '../mesh/mesh.ts'
import type { NodeStatus } from '../status.ts'

export interface MeshRoutesOptions {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers'>
  status: () => Promise<NodeStatus>
}

/** `GET /v1/peers`, `GET /v1/status`. */
export async function meshRoutes(app: FastifyInstance, options: MeshRoutesOptions): Promise<void> {
  const { mesh, status } = options
  const scope = { config: { scope: 'mesh:read' as const } }

  app.get('/v1/peers', scope, async () => ({
    self: mesh.self,
    peers: mesh.peers(),
    expected: mesh.expectedPeers(),
  }))

  app.get('/v1/status', scope, status)
}
