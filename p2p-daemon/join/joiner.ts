import { setTimeout as sleep } from 'node:timers/promises'

import {
  AlreadyMemberError,
  InvalidInvitationError,
  InvalidRequestError,
  InvitationExpiredError,
  PeerUnreachableError,
} from '../../shared/errors.ts'
import {
  looksLikeInvitation,
  parseInvitation,
  type Invitation,
} from '../../shared/invitation/invitation.ts'
import type { Logger } from '../../shared/log/log.ts'
import { parseTCPAddress, peerIdOf, withoutPeerId } from '../mesh/addresses.ts'
import { isEd25519PeerId, type FileAllowList } from '../mesh/allow-list.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { NetworkKey } from '../mesh/network-key.ts'
import type { NodeKey } from '../mesh/node-key.ts'
import { MEMBERSHIP_PROTOCOL, MEMBERSHIP_TIMEOUT_MS } from '../nodes/constants.ts'
import { decodeMembers, encodeRequest } from '../nodes/membership-protocol.ts'
import type { ClusterMember } from '../nodes/node-state.ts'
import { JOIN_CONNECTED_POLL_MS, JOIN_CONNECTED_TIMEOUT_MS } from './constants.ts'
import type { Addresses } from './inviter.ts'
import { decodeJoinAnswer, encodeMessage } from './join-protocol.ts'
import { knock, TurnedAwayError } from './knock.ts'
import type { TokenKey, TokenKeys } from './token-keys.ts'

export interface JoinerComponents {
  mesh: Addresses & Pick<Mesh, 'peer' | 'request'>
  allowList: Pick<FileAllowList, 'add' | 'strike' | 'nameOf'>
  networkKey: NetworkKey
  tokenKeys: TokenKeys
  nodeKey: NodeKey
  log: Logger
}

export interface Joined {
  /** Whom this node asked. */
  through: ClusterMember
  /** Everybody, that one first. */
  members: readonly ClusterMember[]
  connected: boolean
}

/** Makes this node a member of a cluster. */
export class Joiner {
  readonly #components: JoinerComponents
  readonly #connectedTimeoutMs: number

  constructor(
    components: JoinerComponents,
    init: { connectedTimeoutMs?: number | undefined } = {},
  ) {
    this.#components = components
    this.#connectedTimeoutMs = init.connectedTimeoutMs ?? JOIN_CONNECTED_TIMEOUT_MS
  }

  /**
   * With an invitation, or with the address of a member that has listed this node already.
   * Joining the same cluster once more changes nothing.
   */
  join(text: string, signal: AbortSignal): Promise<Joined> {
    return looksLikeInvitation(text)
      ? this.#byInvitation(parseInvitation(text), signal)
      : this.#byAddress(text, signal)
  }

  async #byInvitation(invitation: Invitation, signal: AbortSignal): Promise<Joined> {
    const { mesh, networkKey, nodeKey, log } = this.#components
    const { id, secret, inviter } = invitation
    this.#assertJoinable(inviter.peerId)
    networkKey.assertCanAdopt(invitation.networkKey)
    const { name } = mesh.self
    const payload = encodeMessage({ id, secret, name, addresses: [...mesh.announced()] })
    const addresses = inviter.addresses.filter((address) => parseTCPAddress(address))
    const contact = { nodeKey, peerId: inviter.peerId, addresses, payload }
    const answer = await knock({ ...contact, networkKey: invitation.networkKey }, signal).catch(
      (error: unknown) => {
        throw error instanceof TurnedAwayError ? turnedAway(invitation, error) : error
      },
    )
    const { members } = decodeJoinAnswer(answer)
    // The key first: without it the node would be a member that cannot talk to the others.
    await networkKey.adopt(invitation.networkKey)
    await this.#adopt(members)
    mesh.learn(inviter.peerId, addresses)
    await this.#trust(invitation.tokenKeys)
    log.info({ inviter: inviter.name, members: members.length }, 'joined by invitation')
    const through = { peerId: inviter.peerId, name: inviter.name }
    return { through, members, connected: await this.#connected(inviter.peerId, signal) }
  }

  async #byAddress(text: string, signal: AbortSignal): Promise<Joined> {
    const { mesh, allowList, log } = this.#components
    const address = parseTCPAddress(text)
    const peerId = address && peerIdOf(address)
    if (!address || peerId === undefined || !isEd25519PeerId(peerId)) {
      throw new InvalidRequestError(
        'It is neither an invitation nor an address such as /ip4/192.0.2.7/tcp/9101/p2p/12D3Koo...',
      )
    }
    this.#assertJoinable(peerId)
    const before = mesh.expectedPeers().includes(peerId)
    await this.#adopt([{ peerId, name: peerId.slice(-8) }])
    mesh.learn(peerId, [withoutPeerId(address)])
    if (!(await this.#connected(peerId, signal))) {
      if (!before) await allowList.strike((other) => other === peerId)
      const { peerId: own, name } = mesh.self
      throw new PeerUnreachableError(
        `No member let this node in at ${text}: run there bzzz node allow ${own} ${name}, or ask for an invitation.`,
      )
    }
    const options = { signal, timeoutMs: MEMBERSHIP_TIMEOUT_MS }
    const asked = encodeRequest({ op: 'members' })
    const members = decodeMembers(await mesh.request(peerId, MEMBERSHIP_PROTOCOL, asked, options))
    await this.#adopt(members)
    log.info({ peerId, members: members.length }, 'joined by address')
    const name = mesh.peer(peerId)?.name ?? peerId.slice(-8)
    return { through: { peerId, name }, members, connected: true }
  }

  /** @throws AlreadyMemberError for a node with peers elsewhere, InvalidRequestError for itself */
  #assertJoinable(peerId: string): void {
    const { mesh, allowList } = this.#components
    if (peerId === mesh.self.peerId) {
      throw new InvalidRequestError('A node cannot join itself: run this on the other machine.')
    }
    const expected = mesh.expectedPeers()
    if (expected.length === 0 || expected.includes(peerId)) return
    const names = expected.map((other) => allowList.nameOf(other) ?? other.slice(-8))
    throw new AlreadyMemberError(
      `This node already belongs together with ${names.join(', ')}; clusters are not merged.`,
    )
  }

  async #adopt(members: readonly ClusterMember[]): Promise<void> {
    const { mesh, allowList } = this.#components
    await allowList.add(members.filter(({ peerId }) => peerId !== mesh.self.peerId))
  }

  /** A file that cannot be written costs the cluster's tokens on this node, not the membership. */
  async #trust(keys: readonly TokenKey[]): Promise<void> {
    const { tokenKeys, log } = this.#components
    try {
      const added = await tokenKeys.add(keys)
      log.info({ added }, 'token keys of the cluster taken over')
    } catch (error) {
      log.error({ err: error }, 'token keys of the cluster cannot be written, add them by hand')
    }
  }

  async #connected(peerId: string, signal: AbortSignal): Promise<boolean> {
    const deadlineMs = Date.now() + this.#connectedTimeoutMs
    while (this.#components.mesh.peer(peerId) === undefined) {
      if (Date.now() >= deadlineMs) return false
      await sleep(JOIN_CONNECTED_POLL_MS, undefined, { signal })
    }
    return true
  }
}

/** The other side keeps its door shut, so the reason is not told; this side can guess at it. */
function turnedAway(invitation: Invitation, cause: Error): Error {
  const { expiresAt, inviter } = invitation
  if (Date.parse(expiresAt) <= Date.now()) {
    return new InvitationExpiredError(`The invitation expired at ${expiresAt}.`, { cause })
  }
  return new InvalidInvitationError(
    `${inviter.name} lets nobody in with this invitation: it was withdrawn, or its node was made anew.`,
    { cause },
  )
}
