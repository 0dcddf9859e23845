import type { Startable } from '../../shared/lifecycle.ts'
import { agentId } from './agent.ts'
import type { AgentRegistry } from './agent-registry.ts'
import { encodeAnnouncement, splitAgents, type AnnouncedAgent } from './announcement.ts'
import {
  AGENTS_PER_NODE_MAX,
  ANNOUNCE_DELAY_MS,
  ANNOUNCE_INTERVAL_MS,
  EXPIRY_INTERVAL_MS,
} from './constants.ts'
import { toAnnounced, type OwnAgents } from './own-agents.ts'

/** Where announcements go. */
export interface Announcements {
  publish(bytes: Uint8Array): Promise<void>
  onSubscriber(listener: () => void): void
}

export interface AgentAnnouncerComponents {
  own: OwnAgents
  registry: Pick<AgentRegistry, 'expire'>
  announcements: Announcements
  isMember: (peerId: string) => boolean
}

export interface AgentAnnouncerInit {
  selfId: string
  intervalMs?: number
}

/**
 * Tells the others about the agents of this node: changes at once, all of them now and then and
 * when somebody begins to listen. Also looks at the leases, of all nodes.
 */
export class AgentAnnouncer implements Startable {
  readonly #components: AgentAnnouncerComponents
  readonly #init: Required<AgentAnnouncerInit>
  readonly #changed = new Set<string>()
  #timers: NodeJS.Timeout[] = []
  #soon: NodeJS.Timeout | undefined
  #all = false

  constructor(components: AgentAnnouncerComponents, init: AgentAnnouncerInit) {
    this.#components = components
    this.#init = { intervalMs: ANNOUNCE_INTERVAL_MS, ...init }
    components.own.onChange((id) => {
      this.#changed.add(id)
      this.#announceSoon()
    })
    components.announcements.onSubscriber(() => this.#announceAllSoon())
  }

  start(): Promise<void> {
    if (this.#timers.length > 0) return Promise.resolve()
    this.#timers = [
      setInterval(() => this.#announceAllSoon(), this.#init.intervalMs),
      setInterval(() => this.#expire(), EXPIRY_INTERVAL_MS),
    ]
    this.#announceAllSoon()
    return Promise.resolve()
  }

  /** What is registered stays so: the node may come back before the leases run out. */
  stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#timers = []
    clearTimeout(this.#soon)
    this.#soon = undefined
    return Promise.resolve()
  }

  #announceAllSoon(): void {
    this.#all = true
    this.#announceSoon()
  }

  #announceSoon(): void {
    if (this.#timers.length === 0) return
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined
      void this.#announce()
    }, ANNOUNCE_DELAY_MS)
  }

  async #announce(): Promise<void> {
    const { own, announcements } = this.#components
    const all = this.#all
    const changed = new Set(this.#changed)
    this.#all = false
    this.#changed.clear()
    const list = own.list().map(toAnnounced)
    const listed = new Set(list.map(agentId))
    // More names than fit heal with the next complete message, or run out.
    const withdrawn = [...changed].filter((id) => !listed.has(id)).slice(0, AGENTS_PER_NODE_MAX)
    const agents = all ? list : list.filter((agent) => changed.has(agentId(agent)))
    if (agents.length === 0 && withdrawn.length === 0 && !all) return
    const parts: AnnouncedAgent[][] = splitAgents(agents)
    // Only a message that names all of them can also say that there are no others.
    const complete = all && parts.length === 1
    for (const [index, part] of parts.entries()) {
      const content = { complete, agents: part, withdrawn: index === 0 ? withdrawn : [] }
      await announcements.publish(encodeAnnouncement(own.announcement(content)))
    }
  }

  #expire(): void {
    const { own, registry, isMember } = this.#components
    const ended = registry.expire(isMember).filter(({ node }) => node === this.#init.selfId)
    if (ended.length > 0) own.forget(ended.map(({ id }) => id))
  }
}
