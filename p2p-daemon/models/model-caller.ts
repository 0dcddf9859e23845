import {
  ModelNotFoundError,
  PeerUnreachableError,
  ProtocolViolationError,
  RemoteError,
} from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { AgentRegistry } from '../agents/agent-registry.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { StreamHost } from '../mesh/stream-host.ts'
import {
  CALLS_PER_PEER_MAX,
  MODEL_PROTOCOL,
  MODEL_ROLE,
  NODES_TRIED_MAX,
  OPEN_TIMEOUT_MS,
} from './constants.ts'
import type { LocalModels } from './local-models.ts'
import { ModelChannel } from './model-channel.ts'
import { answerHeadSchema, type ModelAnswer, type RequestHead } from './model-exchange.ts'

/** All agents that announce models: far more than there are nodes. */
const HOSTS_MAX = 256

/** What another node may do better. */
const TRIED_ELSEWHERE = new Set([404, 429, 502, 503, 504])

export interface ModelCallerComponents {
  mesh: Pick<Mesh, 'peer'>
  streams: Pick<StreamHost, 'openStream'>
  agents: Pick<AgentRegistry, 'search'>
  local: LocalModels
  log: Logger
}

export interface SharedModel {
  model: string
  /** Peer ids of those who share it. */
  nodes: string[]
}

/** Takes calls of shared models to a node that has them. */
export class ModelCaller {
  readonly #components: ModelCallerComponents
  readonly #selfId: string

  constructor(components: ModelCallerComponents, init: { selfId: string }) {
    this.#components = components
    this.#selfId = init.selfId
  }

  list(): SharedModel[] {
    const models = new Map<string, SharedModel>()
    const hosts = this.#hosts({ role: MODEL_ROLE })
    for (const { node, capabilities } of hosts) {
      for (const model of capabilities.models) {
        const known = models.get(model) ?? { model, nodes: [] }
        known.nodes.push(node)
        models.set(model, known)
      }
    }
    return [...models.values()]
  }

  /**
   * The own node's server first, then the least busy and nearest node, then the next one.
   * @throws ModelNotFoundError, PeerUnreachableError, RemoteError: before anything was answered
   */
  async call(head: RequestHead, body: Uint8Array, signal: AbortSignal): Promise<ModelAnswer> {
    const nodes = this.#nodesOf(head.model).slice(0, NODES_TRIED_MAX)
    let last: unknown = new ModelNotFoundError('No node of the mesh shares the model now.')
    for (const node of nodes) {
      try {
        if (node === this.#selfId) return await this.#components.local.serve(head, body, signal)
        return await this.#ask(node, head, body, signal)
      } catch (error) {
        signal.throwIfAborted()
        const isNone = error instanceof RemoteError && !TRIED_ELSEWHERE.has(error.status)
        if (isNone || error instanceof ProtocolViolationError) throw error
        this.#components.log.debug({ err: error, peerId: node }, 'node did not serve its model')
        last = error
      }
    }
    throw last
  }

  async #ask(
    peerId: string,
    head: RequestHead,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<ModelAnswer> {
    const opening = AbortSignal.any([signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)])
    const options = { signal: opening, outboundMax: CALLS_PER_PEER_MAX }
    let channel: ModelChannel
    try {
      const stream = await this.#components.streams.openStream(peerId, MODEL_PROTOCOL, options)
      channel = new ModelChannel(stream)
    } catch (error) {
      signal.throwIfAborted()
      throw new PeerUnreachableError('The peer did not take the call.', { cause: error })
    }
    const onAbort = (): void => channel.abort(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    channel.onClose(() => signal.removeEventListener('abort', onAbort))
    try {
      await channel.sendHead(head, signal)
      await channel.send(body, signal)
      await channel.end(signal)
      const parsed = answerHeadSchema.safeParse(await channel.readHead(signal))
      if (!parsed.success) throw new ProtocolViolationError('The peer answered with no head.')
      return { ...parsed.data, peerId, body: bodyOf(channel, signal) }
    } catch (error) {
      channel.abort(error as Error)
      throw error
    }
  }

  #nodesOf(model: string): string[] {
    const { local, mesh } = this.#components
    const hosts = this.#hosts({ role: MODEL_ROLE, model }).filter(
      ({ node }) => node !== this.#selfId && mesh.peer(node),
    )
    const away = (node: string): number => mesh.peer(node)?.latencyMs ?? Number.MAX_SAFE_INTEGER
    const nodes = hosts
      .toSorted((a, b) => a.load - b.load || away(a.node) - away(b.node))
      .map(({ node }) => node)
    return [...(local.shares(model) ? [this.#selfId] : []), ...new Set(nodes)]
  }

  #hosts(filter: { role: string; model?: string }) {
    return this.#components.agents.search(filter, { after: '', limit: HOSTS_MAX })
  }
}

/** Ends the stream with the body, whichever way that ends. */
async function* bodyOf(channel: ModelChannel, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let isWhole = false
  try {
    yield* channel.body(signal)
    isWhole = true
  } finally {
    if (isWhole) channel.close()
    else channel.abort(new PeerUnreachableError('The answer was not read to its end.'))
  }
}
