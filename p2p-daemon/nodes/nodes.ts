import { randomUUID } from 'node:crypto'

import {
  InvalidRequestError,
  NodeNotDrainedError,
  NodeNotFoundError,
  PeerUnreachableError,
} from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { FileAllowList } from '../mesh/allow-list.ts'
import type { Mesh, NodeInfo, RequestHandler } from '../mesh/mesh.ts'
import type { Member, Members } from '../replication/members.ts'
import { Admissions } from './admissions.ts'
import { MEMBERSHIP_PROTOCOL, MEMBERSHIP_TIMEOUT_MS } from './constants.ts'
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeMembers,
  encodeRequest,
  type MembershipRequest,
  type NodeReport,
} from './membership-protocol.ts'
import type { NodeState, Removal } from './node-state.ts'

export interface ListedNode {
  peerId: string
  name: string
  self: boolean
  state: 'live' | 'away' | 'draining' | 'removed'
  /** Whether copies belong on it. */
  placed: boolean
  weight: number | null
  zone: string | null
  awaySeconds: number | null
  /** What it says of itself; null while it does not answer. */
  report: NodeReport | null
}

export interface NodesComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers' | 'request' | 'handle' | 'on'> & {
    update(changes: Partial<Omit<NodeInfo, 'peerId'>>): void
  }
  allowList: Pick<FileAllowList, 'nameOf' | 'strike' | 'add'>
  members: Members
  state: NodeState
  /** What this node says of itself, but for draining. */
  report: () => Promise<Omit<NodeReport, 'draining' | 'drained'>>
  /** Looks at all copies again. */
  rescan: () => void
  log: Logger
}

export interface NodesInit {
  /** The weight of this node while it is not being drained. */
  weight: number
  /** This node does not know what it held before; the others look after it. */
  forgetful: boolean
}

/**
 * Who is in the cluster and who leaves it. Every member may be told to drain or to strike another
 * one: the mesh has proven who asks, and only members get that far. A node that is away when one
 * is removed learns of it from the first member it meets again.
 */
export class Nodes {
  readonly admissions: Admissions
  readonly #components: NodesComponents
  readonly #init: NodesInit

  constructor(components: NodesComponents, init: NodesInit) {
    this.#components = components
    this.#init = init
    const { mesh, log } = components
    this.admissions = new Admissions(components)
    mesh.handle(MEMBERSHIP_PROTOCOL, this.#createServer())
    mesh.on('join', ({ peerId }) => {
      this.#greet(peerId).catch((error: Error) =>
        log.debug({ err: error, peerId }, 'peer could not be told who is in and who is not'),
      )
    })
  }

  /** Members, then those that were removed. Live ones are asked for their report. */
  async list(signal?: AbortSignal): Promise<ListedNode[]> {
    const { mesh, members, state } = this.#components
    const known = members.list().map((member) => this.#listed(member, signal))
    const expected = mesh.expectedPeers()
    const unseen = expected.filter((id) => !members.list().some(({ peerId }) => peerId === id))
    const removed = state.removals.filter(({ peerId }) => !expected.includes(peerId))
    return [
      ...(await Promise.all(known)),
      ...unseen.map((peerId) => absent(peerId, this.#nameOf(peerId), 'away')),
      ...removed.map(({ peerId, name }) => absent(peerId, name, 'removed')),
    ]
  }

  /** Peer id of the member that `text` names, by its peer id or its name. */
  find(text: string): string {
    const { mesh, members } = this.#components
    if (text === mesh.self.peerId || mesh.expectedPeers().includes(text)) return text
    const named = members.list().filter(({ name }) => name === text)
    const listed = mesh.expectedPeers().filter((peerId) => this.#nameOf(peerId) === text)
    const found = new Set([...named.map(({ peerId }) => peerId), ...listed])
    if (found.size > 1) throw new InvalidRequestError(`Several nodes are called ${text}.`)
    const [peerId] = found
    if (peerId === undefined) throw new NodeNotFoundError(`No member is called ${text}.`)
    return peerId
  }

  /** Begins to move the copies of a node elsewhere; `drain: false` lets it take its share. */
  async drain(peerId: string, drain: boolean, signal?: AbortSignal): Promise<NodeReport> {
    const { mesh, members, state, log } = this.#components
    if (peerId !== mesh.self.peerId) return this.#ask(peerId, { op: 'drain', drain }, signal)
    if (drain && !members.list().some((member) => member.placed && member.peerId !== peerId)) {
      throw new NodeNotDrainedError('No other node takes copies, so this one cannot be drained.')
    }
    await state.setDraining(drain)
    mesh.update({ weight: drain ? 0 : this.#init.weight })
    members.refresh()
    log.info({ drain }, 'draining was switched')
    return this.report()
  }

  /**
   * Strikes a node from the allow-list of every member.
   * @throws NodeNotDrainedError unless it is drained or `force` is set
   */
  async remove(
    peerId: string,
    options: { force?: boolean; signal?: AbortSignal } = {},
  ): Promise<{ removed: { peerId: string; name: string }; told: string[]; notTold: string[] }> {
    const { mesh, log } = this.#components
    if (!options.force) await this.#assertDrained(peerId, options.signal)
    const name = this.#nameOf(peerId)
    const removedAt = new Date().toISOString()
    const removal: Removal = { id: randomUUID(), peerId, name, removedAt }
    const others = mesh.expectedPeers().filter((other) => other !== peerId)
    const tell = async (other: string): Promise<string[]> => {
      const request = { op: 'remove' as const, removals: [removal] }
      return this.#ask(other, request).then(
        () => [other],
        () => [],
      )
    }
    const told = (await Promise.all(others.map(tell))).flat()
    // Last, because afterwards it cannot be told any more. It may well be away for good.
    if (peerId !== mesh.self.peerId) await tell(peerId)
    await this.#carryOut(removal)
    log.warn({ peerId, name, told: told.length }, 'node was removed')
    const notTold = others.filter((other) => !told.includes(other))
    return { removed: { peerId, name }, told, notTold }
  }

  async report(): Promise<NodeReport> {
    const { state, report } = this.#components
    const { remaining, blobs, bytes, owed, underReplicated } = await report()
    const { draining } = state
    const drained = draining && remaining === 0
    return { draining, drained, remaining, blobs, bytes, owed, underReplicated }
  }

  async #listed(member: Member, signal?: AbortSignal): Promise<ListedNode> {
    const { mesh } = this.#components
    const { peerId, name, live, placed, weight, zone, storage, awaySeconds } = member
    const self = peerId === mesh.self.peerId
    const asked = self ? this.report() : this.#ask(peerId, { op: 'report' }, signal)
    const report = live ? await asked.catch(() => null) : null
    const draining = report?.draining ?? (storage && weight === 0)
    const state = !live ? 'away' : draining ? 'draining' : 'live'
    return { peerId, name, self, state, placed, weight, zone, awaySeconds, report }
  }

  #nameOf(peerId: string): string {
    const { mesh, allowList, members } = this.#components
    if (peerId === mesh.self.peerId) return mesh.self.name
    const member = members.list().find((other) => other.peerId === peerId)
    return member?.name ?? allowList.nameOf(peerId) ?? peerId.slice(-8)
  }

  async #assertDrained(peerId: string, signal?: AbortSignal): Promise<void> {
    const { mesh } = this.#components
    const own = peerId === mesh.self.peerId
    const { drained, remaining } = await (own
      ? this.report()
      : this.#ask(peerId, { op: 'report' }, signal))
    if (drained) return
    throw new NodeNotDrainedError(
      `Drain the node first (${remaining} blobs and copies remain), or force its removal.`,
    )
  }

  async #carryOut(removal: Removal): Promise<void> {
    const { mesh, allowList, members, state } = this.#components
    if (state.removals.some(({ id }) => id === removal.id)) return
    const leaves = removal.peerId === mesh.self.peerId
    // Struck before it is remembered: after a crash in between it is carried out again.
    await allowList.strike((peerId) => leaves || peerId === removal.peerId)
    await state.addRemoval(removal)
    members.refresh()
  }

  async #greet(peerId: string): Promise<void> {
    const { mesh, state } = this.#components
    const expected = mesh.expectedPeers()
    // A node that was let in again since is not struck by an old decision.
    const removals = state.removals.filter((removal) => !expected.includes(removal.peerId))
    if (removals.length > 0) await this.#ask(peerId, { op: 'remove', removals })
    await this.admissions.greet(peerId)
    if (this.#init.forgetful) await this.#ask(peerId, { op: 'rescan' })
  }

  #createServer(): RequestHandler {
    return async ({ payload, peerId }) => {
      const { mesh, log, rescan } = this.#components
      const request = decodeRequest(payload)
      if (request.op === 'drain') await this.drain(mesh.self.peerId, request.drain)
      if (request.op === 'rescan') rescan()
      if (request.op === 'members') return encodeMembers(this.admissions.members())
      if (request.op === 'admit') await this.admissions.carryOut(request.admissions, peerId)
      if (request.op === 'remove') {
        log.warn({ from: peerId, removals: request.removals.length }, 'told of removed nodes')
        const isCut = (id: string): boolean => id === mesh.self.peerId || id === peerId
        await this.#carryOutAll(request.removals.filter((removal) => !isCut(removal.peerId)))
        // Who is cut off by it is answered first.
        setImmediate(() => void this.#carryOutAll(request.removals))
      }
      return encodeAnswer(await this.report())
    }
  }

  async #carryOutAll(removals: readonly Removal[]): Promise<void> {
    for (const removal of removals) {
      await this.#carryOut(removal).catch((error: Error) =>
        this.#components.log.error({ err: error, removal }, 'node could not be struck'),
      )
    }
  }

  async #ask(
    peerId: string,
    request: MembershipRequest,
    signal?: AbortSignal,
  ): Promise<NodeReport> {
    const { mesh, members } = this.#components
    if (!members.isLive(peerId)) {
      throw new PeerUnreachableError(`${this.#nameOf(peerId)} is away.`)
    }
    const options = { timeoutMs: MEMBERSHIP_TIMEOUT_MS, ...(signal && { signal }) }
    const payload = encodeRequest(request)
    return decodeAnswer(await mesh.request(peerId, MEMBERSHIP_PROTOCOL, payload, options))
  }
}

function absent(peerId: string, name: string, state: 'away' | 'removed'): ListedNode {
  const nothing = { weight: null, zone: null, awaySeconds: null, report: null }
  return { peerId, name, self: false, state, placed: false, ...nothing }
}
