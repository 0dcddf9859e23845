import { agentId, isSameAgent, type Agent } from './agent.ts'
import type { AnnouncedAgent, Announcement } from './announcement.ts'
import { AGENTS_MAX, AGENTS_PER_NODE_MAX, NODE_LEASE_MS } from './constants.ts'

/** An agent as this node knows it. */
export interface RegisteredAgent extends AnnouncedAgent {
  /** Peer id of the node it is registered through. */
  node: string
}

export type AgentChange = 'registered' | 'changed' | 'withdrawn' | 'expired'
export type AgentListener = (change: AgentChange, agent: RegisteredAgent) => void

/** What became of an announcement. `stale`: a later one of the same node was heard before. */
export type Heard = 'taken' | 'stale' | 'full'

export interface AgentFilter {
  /** Among the skills, the models or the tools. */
  capability?: string | undefined
  model?: string | undefined
  role?: string | undefined
  covers?: (project: string) => boolean
}

interface Entry {
  agent: AnnouncedAgent
  node: string
  /** By the monotonic clock of this process: no other clock can make it run out early. */
  endsAtMs: number
}

interface NodeState {
  epoch: number
  sequence: number
  ids: Set<string>
}

export interface AgentRegistryComponents {
  /** Monotonic milliseconds. */
  now?: () => number
}

/**
 * The agents of the cluster, as far as this node has heard of them, in memory. An agent that moved
 * is registered through two nodes until the lease at the first runs out; then the one whose lease
 * ends last is shown.
 */
export class AgentRegistry {
  readonly #now: () => number
  readonly #agents = new Map<string, Map<string, Entry>>()
  readonly #nodes = new Map<string, NodeState>()
  readonly #listeners = new Set<AgentListener>()
  #size = 0

  constructor(components: AgentRegistryComponents = {}) {
    this.#now = components.now ?? (() => performance.now())
  }

  get size(): number {
    return this.#agents.size
  }

  onChange(listener: AgentListener): void {
    this.#listeners.add(listener)
  }

  /** Takes over what a node says about its agents. */
  hear(node: string, announcement: Announcement, options: { asked?: boolean } = {}): Heard {
    const state = this.#stateOf(node)
    if (!isLater(announcement, state, options.asked ?? false)) return 'stale'
    state.epoch = announcement.epoch
    state.sequence = announcement.sequence
    let heard: Heard = 'taken'
    for (const agent of announcement.agents) {
      const leftMs = Math.min(agent.leftMs, NODE_LEASE_MS)
      if (leftMs > 0 && !this.put(node, agent, leftMs)) heard = 'full'
    }
    for (const id of announcement.withdrawn) this.remove(node, id, 'withdrawn')
    if (announcement.complete) {
      const named = new Set(announcement.agents.map(agentId))
      for (const id of [...state.ids]) if (!named.has(id)) this.remove(node, id, 'withdrawn')
    }
    return heard
  }

  /** False when there are too many agents, of the node or altogether. */
  put(node: string, agent: AnnouncedAgent, leftMs: number): boolean {
    const id = agentId(agent)
    const state = this.#stateOf(node)
    const isNew = !state.ids.has(id)
    if (isNew && (state.ids.size >= AGENTS_PER_NODE_MAX || this.#size >= AGENTS_MAX)) return false
    const before = this.find(id)
    const entries = this.#agents.get(id) ?? new Map<string, Entry>()
    entries.set(node, { agent, node, endsAtMs: this.#now() + leftMs })
    this.#agents.set(id, entries)
    state.ids.add(id)
    if (isNew) this.#size += 1
    const now = this.find(id)
    if (!now) return true
    if (!before) this.#tell('registered', now)
    else if (before.node !== now.node || !isSameAgent(before, now)) this.#tell('changed', now)
    return true
  }

  /** False when the node had no such agent. */
  remove(node: string, id: string, why: 'withdrawn' | 'expired'): boolean {
    const entries = this.#agents.get(id)
    const entry = entries?.get(node)
    if (!entries || !entry) return false
    entries.delete(node)
    if (entries.size === 0) this.#agents.delete(id)
    this.#nodes.get(node)?.ids.delete(id)
    this.#size -= 1
    const left = this.find(id)
    if (left) this.#tell('changed', left)
    else this.#tell(why, this.#toRegistered(entry))
    return true
  }

  /**
   * Forgets what has run out, and everything of nodes that are no members any more.
   * @returns what was forgotten
   */
  expire(isMember: (node: string) => boolean): { node: string; id: string }[] {
    const nowMs = this.#now()
    const ended = [...this.#agents].flatMap(([id, entries]) =>
      [...entries.values()]
        .filter(({ node, endsAtMs }) => endsAtMs <= nowMs || !isMember(node))
        .map(({ node }) => ({ node, id })),
    )
    for (const { node, id } of ended) this.remove(node, id, 'expired')
    for (const node of this.#nodes.keys()) if (!isMember(node)) this.#nodes.delete(node)
    return ended
  }

  find(id: string): RegisteredAgent | undefined {
    const nowMs = this.#now()
    const live = [...(this.#agents.get(id)?.values() ?? [])].filter((e) => e.endsAtMs > nowMs)
    if (live.length === 0) return undefined
    return this.#toRegistered(live.reduce((a, b) => (b.endsAtMs > a.endsAtMs ? b : a)))
  }

  /** In the order of their names, those after `after`. */
  search(filter: AgentFilter, page: { after: string; limit: number }): RegisteredAgent[] {
    const found: RegisteredAgent[] = []
    for (const id of [...this.#agents.keys()].toSorted()) {
      if (id <= page.after) continue
      const agent = this.find(id)
      if (!agent || !matches(agent, filter)) continue
      if (found.push(agent) === page.limit) break
    }
    return found
  }

  /** Registered through that node and not run out. */
  ofNode(node: string): RegisteredAgent[] {
    const nowMs = this.#now()
    return [...(this.#nodes.get(node)?.ids ?? [])]
      .map((id) => this.#agents.get(id)!.get(node)!)
      .filter(({ endsAtMs }) => endsAtMs > nowMs)
      .map((entry) => this.#toRegistered(entry))
  }

  #stateOf(node: string): NodeState {
    const known = this.#nodes.get(node)
    if (known) return known
    const state = { epoch: -1, sequence: -1, ids: new Set<string>() }
    this.#nodes.set(node, state)
    return state
  }

  #toRegistered({ agent, node, endsAtMs }: Entry): RegisteredAgent {
    return { ...agent, node, leftMs: Math.max(0, Math.round(endsAtMs - this.#now())) }
  }

  #tell(change: AgentChange, agent: RegisteredAgent): void {
    for (const listener of this.#listeners) listener(change, agent)
  }
}

/**
 * An older message is late or played back. Only what the node answered itself may come from a
 * lower epoch: then it lost its counter.
 */
function isLater(announcement: Announcement, state: NodeState, asked: boolean): boolean {
  const { epoch, sequence } = announcement
  if (epoch !== state.epoch) return asked || epoch > state.epoch
  return asked ? sequence >= state.sequence : sequence > state.sequence
}

function matches({ capabilities, role, project }: Agent, filter: AgentFilter): boolean {
  const { skills, models, tools } = capabilities
  const { capability, model } = filter
  if (filter.role !== undefined && filter.role !== role) return false
  if (model !== undefined && !models.includes(model)) return false
  if (filter.covers && !filter.covers(project)) return false
  return capability === undefined || [skills, models, tools].some((all) => all.includes(capability))
}
