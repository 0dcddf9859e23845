import {
  gossipsub,
  TopicValidatorResult,
  type GossipSub,
  type GossipSubComponents,
  type Message,
} from '@libp2p/gossipsub'

import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Libp2pMesh } from '../mesh/libp2p-mesh.ts'

const SERVICE = 'gossip'

/** What is thought of a message: `ignore` is not passed on, `reject` counts against who sent it. */
export type Verdict = 'accept' | 'ignore' | 'reject'

export interface GossipTopicComponents {
  mesh: Pick<Libp2pMesh, 'addService' | 'service'>
  log: Logger
  /**
   * Judges a message before it is passed on, and takes it over. `from` is who signed it, which
   * need not be who sent it.
   */
  receive: (from: string, bytes: Uint8Array) => Verdict
}

export interface GossipTopicInit {
  topic: string
  messageBytesMax: number
}

/**
 * One topic of signed gossip. Messages carry the signature of their node and are verified before
 * anything looks at them; unsigned ones are refused. What is longer than a message may be is not
 * decoded. Construct it before the mesh starts and start it after.
 */
export class GossipTopic implements Startable {
  readonly #mesh: GossipTopicComponents['mesh']
  readonly #log: Logger
  readonly #receive: GossipTopicComponents['receive']
  readonly #topic: string
  readonly #listeners = new Set<() => void>()
  #gossip: GossipSub | undefined

  constructor({ mesh, log, receive }: GossipTopicComponents, init: GossipTopicInit) {
    this.#mesh = mesh
    this.#log = log.child({ component: 'gossip' })
    this.#receive = receive
    this.#topic = init.topic
    const create = gossipsub({
      globalSignaturePolicy: 'StrictSign',
      allowedTopics: [init.topic],
      maxInboundDataLength: init.messageBytesMax,
      // Alone in the mesh there is nobody to tell, which is no failure.
      allowPublishToZeroTopicPeers: true,
      fallbackToFloodsub: false,
      emitSelf: false,
      // A peer behind a relay hears of agents like any other.
      runOnLimitedConnection: true,
      // Many nodes on one host, in tests and behind one address, are no attack: who may be here
      // is decided by the allow-list.
      scoreParams: { IPColocationFactorWeight: 0 },
    })
    mesh.addService(SERVICE, (libp2p) => create(libp2p as unknown as GossipSubComponents))
  }

  /** Called when a peer begins to listen: it has heard nothing yet. */
  onSubscriber(listener: () => void): void {
    this.#listeners.add(listener)
  }

  start(): Promise<void> {
    if (this.#gossip) return Promise.resolve()
    const gossip = (this.#gossip = this.#mesh.service<GossipSub>(SERVICE))
    gossip.topicValidators.set(this.#topic, (_source, message) => this.#judge(message))
    gossip.addEventListener('subscription-change', ({ detail }) => {
      const begins = detail.subscriptions.some(
        ({ topic, subscribe }) => subscribe && topic === this.#topic,
      )
      if (begins && this.#gossip) for (const listener of this.#listeners) listener()
    })
    gossip.subscribe(this.#topic)
    return Promise.resolve()
  }

  /** The gossip itself ends with the mesh. */
  stop(): Promise<void> {
    this.#gossip?.topicValidators.delete(this.#topic)
    this.#gossip = undefined
    return Promise.resolve()
  }

  /** Resolves when the message was handed to the peers that listen. Never throws. */
  async publish(bytes: Uint8Array): Promise<void> {
    try {
      await this.#gossip?.publish(this.#topic, bytes)
    } catch (error) {
      this.#log.warn({ err: error, topic: this.#topic }, 'message was not published')
    }
  }

  #judge(message: Message): TopicValidatorResult {
    if (message.type !== 'signed' || !this.#gossip) return TopicValidatorResult.Ignore
    const verdict = this.#receive(message.from.toString(), message.data)
    if (verdict === 'accept') return TopicValidatorResult.Accept
    return verdict === 'reject' ? TopicValidatorResult.Reject : TopicValidatorResult.Ignore
  }
}
