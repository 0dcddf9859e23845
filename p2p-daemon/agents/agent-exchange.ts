import type { Logger } from '../../shared/log/log.ts'
import type { Provider } from '../dht/provider.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { AgentFilter, AgentRegistry } from './agent-registry.ts'
import { decodeAnnouncement, encodeAnnouncement } from './announcement.ts'
import { keysFor } from './capability-announcer.ts'
import {
  AGENT_PROTOCOL,
  DISCOVER_TIMEOUT_MS,
  PROVIDERS_ASKED_MAX,
  SNAPSHOT_BYTES_MAX,
  SNAPSHOT_TIMEOUT_MS,
} from './constants.ts'
import type { OwnAgents } from './own-agents.ts'

export interface AgentExchangeComponents {
  mesh: Pick<Mesh, 'handle' | 'request' | 'peer' | 'peers'>
  own: OwnAgents
  registry: AgentRegistry
  provider: Pick<Provider, 'findProviders'>
  log: Logger
}

/** Asks a node for all of its agents at once, and answers the same question. */
export class AgentExchange {
  readonly #components: AgentExchangeComponents

  constructor(components: AgentExchangeComponents) {
    this.#components = components
    const { mesh, own } = components
    mesh.handle(AGENT_PROTOCOL, () => Promise.resolve(encodeAnnouncement(own.snapshot())))
  }

  /**
   * Takes over the agents of a peer. Resolves with how many it has.
   * @throws PeerUnreachableError, ProtocolViolationError
   */
  async pull(peerId: string, signal: AbortSignal): Promise<number> {
    const { mesh, registry } = this.#components
    // Gossip may overtake the answer, which then is stale. It will not do so every time.
    for (let attempt = 0; attempt < PULL_ATTEMPTS; attempt += 1) {
      const options = { timeoutMs: SNAPSHOT_TIMEOUT_MS, signal }
      const answer = await mesh.request(peerId, AGENT_PROTOCOL, new Uint8Array(), options)
      const announcement = decodeAnnouncement(answer, { bytesMax: SNAPSHOT_BYTES_MAX })
      const heard = registry.hear(peerId, announcement, { asked: true })
      if (heard !== 'stale') return announcement.agents.length
    }
    return 0
  }

  /**
   * Asks anew instead of trusting what was heard: the nodes that the DHT names for what is looked
   * for, or everybody connected where the filter names nothing. Who does not answer is left out.
   */
  async refresh(filter: AgentFilter, signal: AbortSignal): Promise<void> {
    const { mesh, log } = this.#components
    const limit = AbortSignal.any([signal, AbortSignal.timeout(DISCOVER_TIMEOUT_MS)])
    const keys = keysFor(filter)
    const found = keys.length === 0 ? mesh.peers().map(({ peerId }) => peerId) : new Set<string>()
    if (found instanceof Set) {
      await Promise.all(keys.map((key) => this.#findProviders(key, found, limit)))
    }
    const asked = [...found].filter((peerId) => mesh.peer(peerId))
    const pulls = asked.map((peerId) =>
      this.pull(peerId, limit).catch((error: Error) =>
        log.debug({ err: error, peerId }, 'peer did not say what agents it has'),
      ),
    )
    await Promise.all(pulls)
    signal.throwIfAborted()
  }

  async #findProviders(
    key: Parameters<Provider['findProviders']>[0],
    found: Set<string>,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      for await (const peerId of this.#components.provider.findProviders(key, { signal })) {
        found.add(peerId)
        if (found.size >= PROVIDERS_ASKED_MAX) return
      }
    } catch (error) {
      this.#components.log.debug({ err: error, key }, 'providers were not found')
    }
  }
}

/** One for the usual case and two for a peer that is just announcing. */
const PULL_ATTEMPTS = 3
