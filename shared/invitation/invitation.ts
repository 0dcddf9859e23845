import { z } from 'zod'

import { InvalidInvitationError } from '../errors.ts'

/** Invitations are recognisable in a leaked file by this prefix; the rest is JSON in base64url. */
const PREFIX = 'bzzzinvite_'

/** Eight addresses and four token keys make 2,500 characters. */
const INVITATION_CHARS_MAX = 16_384

const ADDRESSES_MAX = 16
const TOKEN_KEYS_MAX = 16

const schema = z.object({
  version: z.literal(1),
  id: z.uuid(),
  /** Proves to the inviting node that it gave out this invitation; only its hash is kept there. */
  secret: z.string().regex(/^[\w-]{43}$/),
  inviter: z.object({
    peerId: z.string().min(1).max(128),
    name: z.string().min(1).max(63),
    addresses: z.array(z.string().max(256)).min(1).max(ADDRESSES_MAX),
  }),
  expiresAt: z.iso.datetime(),
  /** Good for several nodes until it expires. */
  reusable: z.boolean(),
  /** 32 bytes in hex, where the cluster has a network key. */
  networkKey: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** JWKs with which the cluster's tokens are verified. */
  tokenKeys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })).max(TOKEN_KEYS_MAX),
})

/** What one line tells a new node: where to go, whom to expect there, and what proves it may. */
export type Invitation = z.output<typeof schema>

export function formatInvitation(invitation: Invitation): string {
  return PREFIX + Buffer.from(JSON.stringify(invitation)).toString('base64url')
}

/** True for what is meant to be an invitation, whole or not. */
export function looksLikeInvitation(text: string): boolean {
  return text.trim().startsWith(PREFIX)
}

/** @throws InvalidInvitationError */
export function parseInvitation(text: string): Invitation {
  const line = text.trim()
  if (!line.startsWith(PREFIX) || line.length > INVITATION_CHARS_MAX) {
    throw new InvalidInvitationError(`That is no invitation: one begins with ${PREFIX}.`)
  }
  try {
    return schema.parse(JSON.parse(Buffer.from(line.slice(PREFIX.length), 'base64url').toString()))
  } catch (error) {
    throw new InvalidInvitationError('The invitation cannot be read: was the whole line copied?', {
      cause: error,
    })
  }
}
