import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Logger } from '../../shared/log/log.ts'
import type { FileAllowList } from '../mesh/allow-list.ts'
import type { Mesh } from '../mesh/mesh.ts'
import {
  MEMBERSHIP_PROTOCOL,
  MEMBERSHIP_TIMEOUT_MS,
  TELL_ATTEMPTS_MAX,
  TELL_PAUSE_MS,
} from './constants.ts'
import { encodeRequest } from './membership-protocol.ts'
import type { Admission, ClusterMember, NodeState } from './node-state.ts'

export interface AdmissionsComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers' | 'request'>
  allowList: Pick<FileAllowList, 'nameOf' | 'add'>
  state: NodeState
  log: Logger
}

/**
 * Who was let in, and telling the others. An admission has an id and is carried out once: what an
 * operator struck from a list by hand since is not put back by a peer that still lists it. A node
 * that is away when one is let in learns of it from the first member it meets again.
 */
export class Admissions {
  readonly #components: AdmissionsComponents

  constructor(components: AdmissionsComponents) {
    this.#components = components
  }

  /** Everybody, this node first. */
  members(): ClusterMember[] {
    const { mesh, allowList } = this.#components
    const { peerId, name } = mesh.self
    const others = mesh.expectedPeers().map((other) => ({
      peerId: other,
      name: this.#nameOf(other) ?? allowList.nameOf(other) ?? other.slice(-8),
    }))
    return [{ peerId, name }, ...others]
  }

  /** Whether another member goes by the name. */
  isNameTaken(name: string, peerId: string): boolean {
    return this.members().some((member) => member.name === name && member.peerId !== peerId)
  }

  /** Lets a peer in here, which is on disk when this resolves, and tells the others. */
  async admit(member: ClusterMember): Promise<void> {
    const { mesh } = this.#components
    const admission = { id: randomUUID(), ...member, admittedAt: new Date().toISOString() }
    await this.#carryOut([admission])
    // Looked up now that it is remembered: who comes later is greeted with it.
    for (const { peerId } of mesh.peers()) {
      if (peerId !== member.peerId) void this.#tell(peerId, [admission])
    }
  }

  /** What a peer says was decided. Those known are left alone, and so are removals since. */
  async carryOut(admissions: readonly Admission[], from: string): Promise<void> {
    const { state, log } = this.#components
    const fresh = admissions.filter(
      (admission) => !state.admissions.some(({ id }) => id === admission.id),
    )
    if (fresh.length === 0) return
    log.info({ from, admissions: fresh }, 'told of new members')
    await this.#carryOut(fresh)
  }

  /** Tells a peer that is here again of everybody who was let in and still is. */
  async greet(peerId: string): Promise<void> {
    const { mesh, state } = this.#components
    const expected = new Set(mesh.expectedPeers())
    const admissions = state.admissions.filter(
      (admission) => expected.has(admission.peerId) && admission.peerId !== peerId,
    )
    if (admissions.length > 0) await this.#tell(peerId, admissions)
  }

  async #carryOut(admissions: readonly Admission[]): Promise<void> {
    const { allowList, mesh, state } = this.#components
    const wanted = admissions.filter(
      ({ peerId, admittedAt }) =>
        peerId !== mesh.self.peerId &&
        !state.removals.some((other) => other.peerId === peerId && other.removedAt > admittedAt),
    )
    // Listed before it is remembered: after a crash in between it is carried out again.
    await allowList.add(wanted.map(({ peerId, name }) => ({ peerId, name })))
    await state.addAdmissions(admissions)
  }

  /** Once more after a failure, as long as the peer is here: when it comes back it is greeted. */
  async #tell(peerId: string, admissions: readonly Admission[]): Promise<void> {
    const { mesh, log } = this.#components
    const payload = encodeRequest({ op: 'admit', admissions: [...admissions] })
    const options = { timeoutMs: MEMBERSHIP_TIMEOUT_MS }
    for (let attempt = 1; attempt <= TELL_ATTEMPTS_MAX; attempt += 1) {
      try {
        await mesh.request(peerId, MEMBERSHIP_PROTOCOL, payload, options)
        return
      } catch (error) {
        log.debug({ err: error, peerId, attempt }, 'peer could not be told of new members')
      }
      await sleep(attempt * TELL_PAUSE_MS, undefined, { ref: false })
      if (!mesh.peers().some((peer) => peer.peerId === peerId)) return
    }
  }

  #nameOf(peerId: string): string | undefined {
    return this.#components.mesh.peers().find((peer) => peer.peerId === peerId)?.name
  }
}
