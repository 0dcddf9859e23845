import { PeerUnreachableError, ProtocolViolationError, RemoteError } from '../../shared/errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { ROOTS_TIMEOUT_MS } from './constants.ts'
import type { MarkSet } from './mark-set.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import {
  HASH_BYTES,
  openAnswerSchema,
  pageAnswerSchema,
  ROOT_PROTOCOL,
  type OpenAnswer,
  type PageAnswer,
  type RootRequest,
} from './root-protocol.ts'
import type { RootServer } from './root-server.ts'

export interface RootGathererComponents {
  mesh: Pick<Mesh, 'self' | 'peer' | 'peers' | 'expectedPeers' | 'request'>
  server: Pick<RootServer, 'open' | 'page'>
}

/** Why nothing may be deleted now, as one sentence for people. */
export type Obstacle = string

/**
 * Collects what every member of the cluster must keep. Only the word of all of them is enough: a
 * node may hold a blob whose record lies with others.
 */
export class RootGatherer {
  readonly #components: RootGathererComponents

  constructor(components: RootGathererComponents) {
    this.#components = components
  }

  /** Who must tell its roots: everybody who may be here. */
  members(): string[] {
    const { mesh } = this.#components
    return [mesh.self.peerId, ...mesh.expectedPeers()]
  }

  /**
   * Marks the roots of one member after the other, a page in each step. Returns what kept it from
   * marking all of them; undefined: the marks are complete.
   */
  async *gather(
    marks: MarkSet,
    { dryRun, members }: { dryRun: boolean; members: readonly string[] },
    signal: AbortSignal,
  ): AsyncGenerator<void, Obstacle | undefined> {
    const own = this.#components.server.open()
    for (const peerId of members) {
      try {
        const answer = await this.#open(peerId, signal)
        const spoken = this.#objection(peerId, answer, own)
        if (spoken !== undefined) return spoken
        if (answer.hold !== null && !dryRun) return answer.hold
        yield* this.#markMember(peerId, answer.sources, marks, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!isOfPeer(error)) throw error
        return `${this.#nameOf(peerId)} did not tell its roots: ${error.message}`
      }
    }
    return dryRun ? undefined : this.obstacle(members)
  }

  /**
   * What speaks against deleting at this moment: a hold, a member out of reach, or another set of
   * members than at the start. Looked at again while deleting goes on, because a hold or a pin is
   * told to those in reach only.
   */
  obstacle(members: readonly string[]): Obstacle | undefined {
    const { mesh, server } = this.#components
    const { hold } = server.open()
    if (hold !== null) return hold
    if (!sameSet(members, this.members())) return 'the allow-list changed meanwhile'
    const here = new Set([mesh.self.peerId, ...mesh.peers().map((peer) => peer.peerId)])
    const away = members.filter((peerId) => !here.has(peerId)).map((id) => this.#nameOf(id))
    return away.length > 0 ? `${away.join(', ')} cannot be reached` : undefined
  }

  #objection(peerId: string, answer: OpenAnswer, own: OpenAnswer): Obstacle | undefined {
    const name = this.#nameOf(peerId)
    if (!sameSet(answer.members, own.members)) return `${name} has another allow-list`
    const missing = own.sources.filter((source) => !answer.sources.includes(source))
    return missing.length > 0 ? `${name} does not know about ${missing.join(', ')}` : undefined
  }

  async *#markMember(
    peerId: string,
    sources: readonly string[],
    marks: MarkSet,
    signal: AbortSignal,
  ): AsyncGenerator<void> {
    for (const source of sources) {
      let after: string | null = ''
      while (after !== null) {
        const page: PageAnswer = await this.#page(peerId, source, after, signal)
        const hashes = Buffer.from(page.hashes, 'base64')
        for (let at = 0; at + HASH_BYTES <= hashes.length; at += HASH_BYTES) {
          marks.addBytes(hashes, at)
        }
        if (page.next === after) throw new ProtocolViolationError('The pages do not go on.')
        after = page.next
        yield
      }
    }
  }

  async #open(peerId: string, signal: AbortSignal): Promise<OpenAnswer> {
    const { mesh, server } = this.#components
    if (peerId === mesh.self.peerId) return server.open()
    return decodeMessage(openAnswerSchema, await this.#ask(peerId, { op: 'open' }, signal))
  }

  async #page(
    peerId: string,
    source: string,
    after: string,
    signal: AbortSignal,
  ): Promise<PageAnswer> {
    const { mesh, server } = this.#components
    if (peerId === mesh.self.peerId) return server.page(source, after, signal)
    const request: RootRequest = { op: 'page', source, after }
    return decodeMessage(pageAnswerSchema, await this.#ask(peerId, request, signal))
  }

  #ask(peerId: string, request: RootRequest, signal: AbortSignal): Promise<Uint8Array> {
    const { mesh } = this.#components
    const options = { timeoutMs: ROOTS_TIMEOUT_MS, signal }
    return mesh.request(peerId, ROOT_PROTOCOL, encodeMessage(request), options)
  }

  #nameOf(peerId: string): string {
    return this.#components.mesh.peer(peerId)?.name ?? peerId
  }
}

function sameSet(left: readonly string[], right: readonly string[]): boolean {
  const set = new Set(left)
  return set.size === new Set(right).size && right.every((member) => set.has(member))
}

/** A peer that is away, slow or talks nonsense, as opposed to a fault on this side. */
function isOfPeer(error: unknown): error is Error {
  return (
    error instanceof PeerUnreachableError ||
    error instanceof ProtocolViolationError ||
    error instanceof RemoteError
  )
}
