import type { FastifyReply, FastifyRequest } from 'fastify'

import { hashArguments, type AuditEvent } from '../audit/audit-entry.ts'

/** Where allows and denies are written down; see shared/audit/audit-log.ts. */
export interface Auditor {
  /** @throws AuditUnavailableError when nothing more can be promised to be written down */
  assertRoom(): void
  record(event: Omit<AuditEvent, 'component'>): void
}

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Whatever may change something: every method but those that only read. */
export function isAudited(
  { method, routeOptions, is404 }: FastifyRequest,
  status?: number,
): boolean {
  const { public: isPublic, audit } = routeOptions.config
  if (audit === 'denials' && status !== 401 && status !== 403) return false
  return !READING.has(method) && !isPublic && !is404 && audit !== false
}

/** What is written down of a request that was answered. Its content is not, only a hash of it. */
export function eventOf(
  request: FastifyRequest,
  reply: FastifyReply,
): Omit<AuditEvent, 'component'> {
  const { method, routeOptions, url, body, claims } = request
  const status = reply.statusCode
  const { audit } = routeOptions.config
  const hidden = audit === 'no-arguments' || audit === 'denials'
  return {
    actor: claims?.subject ?? '',
    tokenId: claims?.id ?? '',
    remote: request.socket.remoteAddress ?? '',
    action: `${method} ${routeOptions.url ?? ''}`,
    resource: url,
    outcome: status === 401 || status === 403 ? 'deny' : 'allow',
    status,
    requestId: request.id,
    argumentsHash: hidden ? '' : hashArguments(method, url, isPlain(body) ? body : null),
  }
}

/** A body that was read as JSON; others are streams, and their hash is not known here. */
function isPlain(body: unknown): boolean {
  return typeof body === 'object' && body !== null && !('pipe' in body)
}
