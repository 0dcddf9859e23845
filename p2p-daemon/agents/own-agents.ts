import { AgentNotFoundError, InvalidRequestError, OverloadedError } from '../../shared/errors.ts'
import { agentBytes, agentId, type Agent } from './agent.ts'
import type { AgentRegistry, RegisteredAgent } from './agent-registry.ts'
import type { AgentStore, KeptAgent } from './agent-store.ts'
import type { AnnouncedAgent, Announcement } from './announcement.ts'
import { AGENT_BYTES_MAX, FULL_RETRY_SECONDS } from './constants.ts'

export interface OwnAgentsComponents {
  registry: AgentRegistry
  store: AgentStore
  /** Unix milliseconds. */
  clock?: () => number
}

/**
 * The agents registered through this node, and their leases. A lease goes on over a restart of the
 * daemon; this is the one place where the wall clock counts, and a clock that was set back in the
 * meantime gives a whole lease rather than none.
 */
export class OwnAgents {
  readonly #registry: AgentRegistry
  readonly #store: AgentStore
  readonly #clock: () => number
  readonly #selfId: string
  readonly #epoch: number
  readonly #listeners = new Set<(id: string) => void>()
  #sequence = 0

  constructor(components: OwnAgentsComponents, init: { selfId: string }) {
    this.#registry = components.registry
    this.#store = components.store
    this.#clock = components.clock ?? (() => Date.now())
    this.#selfId = init.selfId
    this.#epoch = this.#store.nextEpoch(this.#clock())
  }

  /** Takes up the leases that had not run out when the daemon ended. Called once, at the start. */
  restore(): void {
    for (const kept of this.#store.all()) this.#restore(kept)
  }

  /** Called with the id of an agent that was registered, renewed or withdrawn. */
  onChange(listener: (id: string) => void): void {
    this.#listeners.add(listener)
  }

  /**
   * Registers an agent or what it says now, and begins its lease.
   * @throws InvalidRequestError when it says too much, OverloadedError when there are too many
   */
  register(agent: Agent, leaseMs: number): { agent: RegisteredAgent; created: boolean } {
    if (agentBytes(agent) > AGENT_BYTES_MAX) {
      throw new InvalidRequestError(`An agent is described in at most ${AGENT_BYTES_MAX} bytes.`)
    }
    const known = this.find(agentId(agent))
    const registeredAtMs = known?.registeredAtMs ?? Math.floor(this.#clock())
    return { agent: this.#renew({ ...agent, registeredAtMs, leaseMs }), created: !known }
  }

  /** @throws AgentNotFoundError when it is not registered here or its lease has run out */
  heartbeat(id: string, changes: { load?: number | undefined }): RegisteredAgent {
    const known = this.find(id)
    if (!known) {
      throw new AgentNotFoundError(`${id} is not registered through this node: register it again.`)
    }
    const { node: _node, leftMs: _left, ...agent } = known
    return this.#renew({ ...agent, load: changes.load ?? agent.load })
  }

  /** @throws AgentNotFoundError */
  withdraw(id: string): void {
    this.#store.delete(id)
    if (!this.#registry.remove(this.#selfId, id, 'withdrawn')) {
      throw new AgentNotFoundError(`${id} is not registered through this node.`)
    }
    this.#tell(id)
  }

  find(id: string): RegisteredAgent | undefined {
    return this.list().find((agent) => agentId(agent) === id)
  }

  list(): RegisteredAgent[] {
    return this.#registry.ofNode(this.#selfId)
  }

  /** What the node tells others; every message has its number. */
  announcement(content: Pick<Announcement, 'complete' | 'agents' | 'withdrawn'>): Announcement {
    this.#sequence += 1
    return { epoch: this.#epoch, sequence: this.#sequence, ...content }
  }

  /** Everything, for a node that asks. It has the number of the last message. */
  snapshot(): Announcement {
    const agents = this.list().map(toAnnounced)
    const { epoch, sequence } = { epoch: this.#epoch, sequence: this.#sequence }
    return { epoch, sequence, complete: true, agents, withdrawn: [] }
  }

  /** The lease of these has run out. */
  forget(ids: readonly string[]): void {
    for (const id of ids) this.#store.delete(id)
    for (const id of ids) this.#tell(id)
  }

  #renew(agent: Omit<AnnouncedAgent, 'leftMs'>): RegisteredAgent {
    const { registeredAtMs, leaseMs, ...described } = agent
    const leased = { ...agent, leftMs: leaseMs }
    if (!this.#registry.put(this.#selfId, leased, leaseMs)) {
      throw new OverloadedError('There are too many agents here.', FULL_RETRY_SECONDS)
    }
    const renewedAtMs = Math.floor(this.#clock())
    this.#store.put({ agent: described, registeredAtMs, leaseMs, renewedAtMs })
    this.#tell(agentId(agent))
    return { ...leased, node: this.#selfId }
  }

  #restore({ agent, registeredAtMs, leaseMs, renewedAtMs }: KeptAgent): void {
    const silentMs = Math.max(0, this.#clock() - renewedAtMs)
    const leftMs = Math.min(leaseMs, leaseMs - silentMs)
    const leased = { ...agent, registeredAtMs, leaseMs, leftMs }
    const isHere = leftMs > 0 && this.#registry.put(this.#selfId, leased, leftMs)
    if (!isHere) this.#store.delete(agentId(agent))
  }

  #tell(id: string): void {
    for (const listener of this.#listeners) listener(id)
  }
}

export function toAnnounced({ node: _node, ...announced }: RegisteredAgent): AnnouncedAgent {
  return announced
}
