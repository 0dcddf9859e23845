import type { FastifyReply, FastifyRequest } from 'fastify'

import { projectMatches } from '../../shared/address/project-pattern.ts'
import { AddressNotFoundError } from '../../shared/errors.ts'
import type { Alias, Aliases } from '../../shared/v1/aliases.ts'
import { parseOldName, type OldName } from '../../shared/v1/old-name.ts'

/** An old name that was asked for. */
export interface OldNameAsked {
  name: OldName
  text: string
  /** What it stands for, not what lies there. */
  record: boolean
}

/** The old name that a URL asks for; null where it asks for an address. */
export function oldNameOf(url: string): OldNameAsked | null {
  const [path = '', query] = url.split('?', 2)
  let text = path.replace(/^\//, '')
  // The short form of an author has signs that no URL has.
  if (text.startsWith('%3C') || text.startsWith('%3c')) {
    try {
      text = decodeURIComponent(text)
    } catch {
      return null
    }
  }
  const name = parseOldName(text)
  return name && { name, text, record: query === 'record' || query === 'record=' }
}

/**
 * What an old name stands for among the projects of the token. Where that is several things, they
 * are listed with status 300, and the answer is sent: then this is null.
 * @throws AddressNotFoundError
 */
export async function findOldName(
  aliases: Aliases,
  { name, text }: OldNameAsked,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Alias | null> {
  const patterns = request.claims?.projects ?? []
  const found = (await aliases.find(name)).filter(({ project }) =>
    patterns.some((pattern) => projectMatches(pattern, project)),
  )
  const [only] = found
  if (!only) throw new AddressNotFoundError(`Nothing was imported from v1 as ${text}.`)
  if (found.length === 1) return only
  reply.code(300).header('cache-control', 'private, no-cache')
  await reply.send({ name: text, choices: found.map(toChoice) })
  return null
}

export function toChoice({ address, blob }: Alias): { address: string; content: string | null } {
  return { address, content: blob === null ? null : `bzzz://b3/${blob}` }
}
