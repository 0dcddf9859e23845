import { NodeNameTakenError } from '../../shared/errors.ts'
import { formatInvitation } from '../../shared/invitation/invitation.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { RequestHandler } from '../mesh/mesh.ts'
import type { NetworkKey } from '../mesh/network-key.ts'
import type { Admissions } from '../nodes/admissions.ts'
import type { Door } from './door.ts'
import type { Invitations, StoredInvitation } from './invitations.ts'
import { decodeJoinRequest, encodeMessage } from './join-protocol.ts'
import type { TokenKeys } from './token-keys.ts'

/** The part of the mesh that knows addresses. */
export interface Addresses {
  readonly self: { peerId: string; name: string }
  expectedPeers(): readonly string[]
  /** Where others may dial this node, without its peer id. */
  announced(): readonly string[]
  /** Where a peer can be dialled. */
  learn(peerId: string, addresses: readonly string[]): void
}

export interface InviterComponents {
  door: Door
  mesh: Addresses
  admissions: Pick<Admissions, 'admit' | 'members' | 'isNameTaken'>
  invitations: Invitations
  networkKey: Pick<NetworkKey, 'hex'>
  tokenKeys: TokenKeys
  log: Logger
}

export interface MadeInvitation {
  id: string
  expiresAt: string
  reusable: boolean
  addresses: readonly string[]
  /** The line to hand over. Whoever has it can join. */
  invitation: string
}

/** Gives out invitations, and decides at the door who has one. */
export class Inviter {
  readonly #components: InviterComponents

  constructor(components: InviterComponents) {
    this.#components = components
    const { door, invitations } = components
    door.serve({ isOpen: () => invitations.isOpen(), handler: this.#handler })
  }

  async invite(init: { lifetimeMs: number; reusable: boolean }): Promise<MadeInvitation> {
    const { mesh, invitations, networkKey, tokenKeys, log } = this.#components
    const { reusable } = init
    const keys = await tokenKeys.list()
    const { id, secret, expiresAt } = await invitations.create(init)
    const { peerId, name } = mesh.self
    const addresses = mesh.announced()
    const invitation = formatInvitation({
      version: 1,
      id,
      secret,
      inviter: { peerId, name, addresses: [...addresses] },
      expiresAt,
      reusable,
      ...(networkKey.hex !== undefined && { networkKey: networkKey.hex }),
      tokenKeys: keys,
    })
    log.info({ id, expiresAt, reusable }, 'invitation given out')
    return { id, expiresAt, reusable, addresses, invitation }
  }

  list(): readonly StoredInvitation[] {
    return this.#components.invitations.list()
  }

  withdraw(id: string): Promise<boolean> {
    return this.#components.invitations.withdraw(id)
  }

  readonly #handler: RequestHandler = async ({ peerId, payload }) => {
    const { mesh, admissions, invitations, log } = this.#components
    const { id, secret, name, addresses } = decodeJoinRequest(payload)
    const isMember = (): boolean => mesh.expectedPeers().includes(peerId)
    // Only asked once the secret has proven right: a stranger learns no names here.
    const assertFits = (): void => {
      if (!admissions.isNameTaken(name, peerId)) return
      throw new NodeNameTakenError(`Another node is called ${name}: join under another name.`)
    }
    try {
      await invitations.redeem({ id, secret, peerId, name }, { isMember, assertFits })
    } catch (error) {
      log.warn({ err: error, peerId, name, id }, 'somebody was not let in')
      throw error
    }
    await admissions.admit({ peerId, name })
    mesh.learn(peerId, addresses)
    log.info({ peerId, name, id }, 'node was let in by invitation')
    return encodeMessage({ members: admissions.members() })
  }
}
