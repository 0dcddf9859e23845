import type { FastifyRequest } from 'fastify'

import { parseAddress } from '../../shared/address/address.ts'
import { checkLabel } from '../../shared/address/labels.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import { InvalidRequestError } from '../../shared/errors.ts'
import type { CallScope } from './limits/limits.ts'

/** Where a token covers many projects and the call names none. */
const PROJECT_DEFAULT = 'default'

/** Whose call it is, before it is known for which model. */
export interface Caller extends Omit<CallScope, 'model'> {
  token: string
  /** Canonical; the messages of the call are appended there. */
  thread: string | null
}

/**
 * The project of a call: the header `bzzz-project`, else that of `bzzz-thread`, else the only one
 * that the token covers, else `default`. The agent: the header `bzzz-agent`, else who the token is
 * for.
 * @throws InvalidRequestError, ScopeMissingError when the token does not cover the project
 */
export function callerOf(request: FastifyRequest): Caller {
  const claims = request.claims!
  const thread = threadOf(request)
  const given = headerOf(request, 'bzzz-project')
  const project =
    given === null ? (thread?.project ?? onlyProject(claims.projects)) : label('project', given)
  requireProject(request, project)
  if (thread && thread.project !== project) requireProject(request, thread.project)
  const agent = headerOf(request, 'bzzz-agent')
  return {
    tokenId: claims.id,
    subject: claims.subject,
    project,
    agent: agent === null ? labelOf(claims.subject) : label('agent', agent),
    token: request.token ?? '',
    thread: thread?.text ?? null,
  }
}

function threadOf(request: FastifyRequest): { text: string; project: string } | null {
  const given = headerOf(request, 'bzzz-thread')
  if (given === null) return null
  const address = parseAddress(given)
  if (address.kind !== 'semantic') {
    throw new InvalidRequestError('bzzz-thread: the address of a thread, not of content.')
  }
  return { text: given, project: address.project }
}

function headerOf(request: FastifyRequest, name: string): string | null {
  const value = request.headers[name]
  return typeof value === 'string' && value !== '' ? value : null
}

function onlyProject(patterns: readonly string[]): string {
  const [only] = patterns
  return patterns.length === 1 && only !== undefined && !only.includes('*') ? only : PROJECT_DEFAULT
}

function label(name: 'project' | 'agent', text: string): string {
  try {
    return checkLabel(name, text)
  } catch (error) {
    const message = error instanceof Error ? error.message : 'not a label'
    throw new InvalidRequestError(`bzzz-${name}: ${message}`, { cause: error })
  }
}

/** The subject of a token may be any text; the labels of an address may not. */
export function labelOf(subject: string): string {
  const text = subject.toLowerCase().replaceAll(/[^a-z0-9._-]+/g, '-')
  return text.replace(/^[^a-z0-9]+/, '').slice(0, 63) || 'unknown'
}
