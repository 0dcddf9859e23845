import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { AgentRegistry } from '../agents/agent-registry.ts'
import type { OwnAgents } from '../agents/own-agents.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { StreamHost } from '../mesh/stream-host.ts'
import { LocalModels, type LocalModelsInit } from './local-models.ts'
import { ModelCaller } from './model-caller.ts'
import { ModelServer } from './model-server.ts'

export interface ModelsComponents {
  mesh: Pick<Mesh, 'peer' | 'self'>
  streams: StreamHost
  agents: { own: OwnAgents; registry: AgentRegistry }
  log: Logger
}

/** Models that nodes share with each other; `parts` are started after the mesh and the agents. */
export function composeModels(
  { mesh, streams, agents, log: parent }: ModelsComponents,
  init: Omit<LocalModelsInit, 'selfId' | 'nodeName'>,
) {
  const log = parent.child({ component: 'models' })
  const { peerId: selfId, name: nodeName } = mesh.self
  const { own, registry } = agents
  const local = new LocalModels({ own, log }, { ...init, selfId, nodeName })
  const server = new ModelServer({
    streams,
    serve: (head, body, signal) => local.serve(head, body, signal),
    log,
  })
  const caller = new ModelCaller({ mesh, streams, agents: registry, local, log }, { selfId })
  const parts: Startable[] = [local]
  return { caller, server, parts }
}
