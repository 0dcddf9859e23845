import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { composeAgents, gossipOver } from '../../p2p-daemon/agents/compose.ts'
import type { Agent } from '../../p2p-daemon/agents/agent.ts'
import { composeProvider } from '../../p2p-daemon/dht/compose.ts'
import { RecordDHT } from '../../p2p-daemon/dht/kad-dht.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { TestNode } from './mesh.ts'

export type TestAgents = ReturnType<typeof composeAgents>

/** The agents of every node of a test cluster, as its daemon composes them. */
export class AgentMesh {
  readonly #agents = new Map<string, TestAgents>()
  readonly #init: { announceIntervalMs?: number }

  constructor(init: { announceIntervalMs?: number } = {}) {
    this.#init = init
  }

  /** For `startCluster({ attach })`. */
  readonly attach = (node: TestNode): Startable[] => {
    const { mesh, allowList, log, registry, nodeKey, dataDir } = node
    mkdirSync(join(dataDir, 'dht'), { recursive: true })
    const isAuthorAllowed = (peerId: string): boolean => allowList.has(peerId)
    const dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed })
    const file = join(dataDir, 'dht', 'provided.db')
    const providers = composeProvider({ mesh, dht, log, registry }, { file })
    const agents = composeAgents(
      {
        mesh,
        createTopic: gossipOver(mesh),
        provider: providers.provider,
        isMember: (peerId) => peerId === nodeKey.peerId || allowList.has(peerId),
        nameOf: (peerId) => mesh.peer(peerId)?.name ?? null,
        log,
        registry,
      },
      { agentsFile: join(dataDir, 'dht', 'agents.db'), ...this.#init },
    )
    this.#agents.set(node.name, agents)
    const closing: Startable = {
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(providers.close()).then(agents.close),
    }
    return [closing, dht, ...providers.parts, ...agents.parts]
  }

  of(name: string): TestAgents {
    return this.#agents.get(name)!
  }

  /** Names of the agents that the node knows. */
  known(name: string): string[] {
    return this.of(name)
      .registry.search({}, { after: '', limit: 1_000 })
      .map((agent) => `${agent.name}@${agent.project}`)
  }
}

export function agentOf(more: Partial<Agent> = {}): Agent {
  return {
    name: 'reviewer',
    project: 'apollo',
    role: 'lead',
    capabilities: { skills: ['review'], models: ['llama-3'], tools: ['git'] },
    endpoint: 'http://10.0.0.7:8100/',
    load: 0.25,
    ...more,
  }
}
