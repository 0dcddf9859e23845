import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { z } from 'zod'

import {
  InvalidConfigError,
  InvalidInvitationError,
  InvitationExpiredError,
  InvitationUsedError,
  OverloadedError,
} from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'
import { INVITATION_KEPT_MS, INVITATION_USES_MAX, INVITATIONS_MAX } from './constants.ts'

const invitationSchema = z.strictObject({
  id: z.uuid(),
  /** SHA-256 of the secret, which has 256 bits: whoever reads this file cannot use it. */
  secretHash: z.string().regex(/^[0-9a-f]{64}$/),
  expiresAt: z.iso.datetime(),
  reusable: z.boolean(),
  uses: z.array(z.strictObject({ peerId: z.string(), name: z.string(), at: z.iso.datetime() })),
})

const fileSchema = z.strictObject({ invitations: z.array(invitationSchema) })

export type StoredInvitation = z.output<typeof invitationSchema>

/** What somebody at the door has shown. */
export interface Presented {
  id: string
  secret: string
  peerId: string
  name: string
}

/**
 * The invitations this node gave out, in `<dataDir>/config/invitations.json`. A use is on disk
 * before anybody is let in for it, so that after a crash a single-use invitation is used up, and
 * only who used it may come with it again.
 */
export class Invitations {
  readonly #path: string
  #list: readonly StoredInvitation[]
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, list: readonly StoredInvitation[]) {
    this.#path = path
    this.#list = list
  }

  /** @throws InvalidConfigError when the file is there but cannot be understood */
  static async load(dataDir: string): Promise<Invitations> {
    const path = join(dataDir, 'config', 'invitations.json')
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return new Invitations(path, [])
    }
    try {
      return new Invitations(path, fileSchema.parse(JSON.parse(text)).invitations)
    } catch (error) {
      throw new InvalidConfigError(`${path} cannot be understood.`, { cause: error })
    }
  }

  /** Whether a stranger may speak at all: only while an invitation has not expired. */
  isOpen(): boolean {
    return this.#list.some((invitation) => !isExpired(invitation))
  }

  list(): readonly StoredInvitation[] {
    return this.#list.filter((invitation) => !isExpired(invitation))
  }

  /** The secret is told here once and kept nowhere. */
  async create(init: {
    lifetimeMs: number
    reusable: boolean
  }): Promise<{ id: string; secret: string; expiresAt: string }> {
    const keptSince = Date.now() - INVITATION_KEPT_MS
    const kept = this.#list.filter(({ expiresAt }) => Date.parse(expiresAt) > keptSince)
    if (kept.length >= INVITATIONS_MAX && this.list().length >= INVITATIONS_MAX) {
      throw new OverloadedError(`${INVITATIONS_MAX} invitations are open: withdraw some.`, 60)
    }
    const secret = randomBytes(32).toString('base64url')
    const id = randomUUID()
    const expiresAt = new Date(Date.now() + init.lifetimeMs).toISOString()
    const { reusable } = init
    const made = { id, secretHash: hashOf(secret), expiresAt, reusable, uses: [] }
    await this.#change([...kept.slice(1 - INVITATIONS_MAX), made])
    return { id, secret, expiresAt }
  }

  /** False when there is none of this id. */
  async withdraw(id: string): Promise<boolean> {
    const left = this.#list.filter((invitation) => invitation.id !== id)
    if (left.length === this.#list.length) return false
    await this.#change(left)
    return true
  }

  /**
   * Uses up what was presented. Who used it before may come again, for its answer may have been
   * lost, unless it was removed from the cluster since. `assertFits` may refuse for other reasons
   * before anything is used up.
   * @throws InvalidInvitationError, InvitationExpiredError, InvitationUsedError
   */
  async redeem(
    { id, secret, peerId, name }: Presented,
    { isMember, assertFits }: { isMember: () => boolean; assertFits: () => void },
  ): Promise<void> {
    const invitation = this.#list.find((candidate) => candidate.id === id)
    if (!invitation || !isSame(invitation.secretHash, hashOf(secret))) {
      throw new InvalidInvitationError('The invitation was not given out here, or was withdrawn.')
    }
    if (isExpired(invitation)) {
      throw new InvitationExpiredError(`The invitation expired at ${invitation.expiresAt}.`)
    }
    if (invitation.uses.some((use) => use.peerId === peerId)) {
      if (isMember()) return
      throw new InvitationUsedError('The node was removed after it had used the invitation.')
    }
    if (invitation.uses.length >= (invitation.reusable ? INVITATION_USES_MAX : 1)) {
      const by = invitation.uses.map((use) => use.name).join(', ')
      throw new InvitationUsedError(`The invitation was already used by ${by}.`)
    }
    assertFits()
    const use = { peerId, name, at: new Date().toISOString() }
    const used = { ...invitation, uses: [...invitation.uses, use] }
    await this.#change(this.#list.map((other) => (other === invitation ? used : other)))
  }

  /** The list changes at once, so that of two at the same time one finds it used. */
  #change(list: readonly StoredInvitation[]): Promise<void> {
    this.#list = list
    const text = `${JSON.stringify({ invitations: list }, null, 2)}\n`
    const writing = this.#writing.then(() => replaceFile(this.#path, text, 0o600))
    this.#writing = writing.catch(() => undefined)
    return writing
  }
}

function isExpired({ expiresAt }: StoredInvitation): boolean {
  return Date.parse(expiresAt) <= Date.now()
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

function isSame(left: string, right: string): boolean {
  return timingSafeEqual(Buffer.from(left), Buffer.from(right))
}
