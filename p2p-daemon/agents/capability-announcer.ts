import { capabilityKey, type ProviderKey } from '../dht/keys.ts'
import type { Provider } from '../dht/provider.ts'
import type { Agent } from './agent.ts'
import type { AgentFilter } from './agent-registry.ts'
import type { AgentStore } from './agent-store.ts'
import type { OwnAgents } from './own-agents.ts'

export interface CapabilityAnnouncerComponents {
  own: OwnAgents
  /** Agents of the run before, whose capabilities may still be announced. */
  store: Pick<AgentStore, 'all'>
  provider: Pick<Provider, 'provide' | 'withdraw'>
}

/**
 * Announces in the DHT what the agents of this node can do, a key for each skill, model, tool and
 * role that any of them has, and withdraws it with the last one that has it.
 */
export class CapabilityAnnouncer {
  readonly #components: CapabilityAnnouncerComponents
  readonly #announced: Set<ProviderKey>

  constructor(components: CapabilityAnnouncerComponents) {
    this.#components = components
    this.#announced = new Set(components.store.all().flatMap(({ agent }) => keysOf(agent)))
    components.own.onChange(() => this.compare())
  }

  /** Announces what is new and withdraws what is no longer so. */
  compare(): void {
    const { own, provider } = this.#components
    const wanted = new Set(own.list().flatMap(keysOf))
    for (const key of wanted) {
      // A node that announces too much already is asked again with the next change.
      if (provider.provide(key)) this.#announced.add(key)
    }
    for (const key of this.#announced) {
      if (wanted.has(key)) continue
      provider.withdraw(key)
      this.#announced.delete(key)
    }
  }
}

function keysOf({ role, capabilities }: Agent): ProviderKey[] {
  const { skills, models, tools } = capabilities
  return [
    ...skills.map((skill) => capabilityKey(`skill/${skill}`)),
    ...models.map((model) => capabilityKey(`model/${model}`)),
    ...tools.map((tool) => capabilityKey(`tool/${tool}`)),
    ...(role === null ? [] : [capabilityKey(`role/${role}`)]),
  ]
}

/** Under one of these, nodes are announced that may have what the filter asks for. */
export function keysFor({ capability, model, role }: AgentFilter): ProviderKey[] {
  if (model !== undefined) return [capabilityKey(`model/${model}`)]
  if (capability !== undefined) {
    return ['skill', 'model', 'tool'].map((kind) => capabilityKey(`${kind}/${capability}`))
  }
  return role === undefined ? [] : [capabilityKey(`role/${role}`)]
}
