import { ProtocolViolationError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { AgentMetrics } from './agent-metrics.ts'
import type { AgentRegistry } from './agent-registry.ts'
import { decodeAnnouncement } from './announcement.ts'
import { ANNOUNCEMENTS_BURST_MAX, ANNOUNCEMENTS_PER_SECOND_MAX } from './constants.ts'
import type { Verdict } from './gossip-topic.ts'
import { RateBound } from './rate-bound.ts'

export interface AnnouncementReceiverComponents {
  registry: AgentRegistry
  isMember: (peerId: string) => boolean
  metrics: AgentMetrics
  log: Logger
  now?: () => number
}

/** Judges gossip about agents and takes over what holds. */
export class AnnouncementReceiver {
  readonly #components: AnnouncementReceiverComponents
  readonly #rates: RateBound

  constructor(components: AnnouncementReceiverComponents) {
    this.#components = components
    this.#rates = new RateBound(
      { burst: ANNOUNCEMENTS_BURST_MAX, perSecond: ANNOUNCEMENTS_PER_SECOND_MAX },
      components.now ?? (() => performance.now()),
    )
  }

  /**
   * A peer is not blamed for passing on what only this node does not want: allow-lists differ for
   * a moment, and a message may come twice. It is blamed for what nobody can read.
   */
  receive(from: string, bytes: Uint8Array): Verdict {
    const { registry, isMember, metrics, log } = this.#components
    if (!isMember(from)) return this.#count('stranger', 'ignore')
    if (!this.#rates.take(from)) return this.#count('too_often', 'ignore')
    try {
      const heard = registry.hear(from, decodeAnnouncement(bytes))
      if (heard === 'stale') return this.#count('stale', 'ignore')
      metrics.heard(heard)
      return 'accept'
    } catch (error) {
      if (!(error instanceof ProtocolViolationError)) throw error
      log.warn({ err: error, peerId: from }, 'announcement of agents refused')
      return this.#count('unreadable', 'reject')
    }
  }

  #count(result: 'stranger' | 'too_often' | 'stale' | 'unreadable', verdict: Verdict): Verdict {
    this.#components.metrics.heard(result)
    return verdict
  }
}
