import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { checkLabel } from '../../shared/address/labels.ts'
import { projectMatches } from '../../shared/address/project-pattern.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { ADDRESS_LABEL_CHARS_MAX } from '../../shared/limits.ts'
import { TYPES_CHARS_MAX } from '../events/constants.ts'
import type { LoggedEvent } from '../events/event-log.ts'
import type { EventStreams } from '../events/event-streams.ts'
import { EVENT_SCOPES, parseTypes } from '../events/event.ts'

export interface EventRoutesOptions {
  events: { streams: Pick<EventStreams, 'open' | 'stop'> }
  /** Asked again while a stream is open; without it a token holds until it expires. */
  isRevoked?: ((tokenId: string) => boolean | Promise<boolean>) | undefined
}

const eventQuery = z.object({
  types: z.string().max(TYPES_CHARS_MAX).optional(),
  project: z.string().max(ADDRESS_LABEL_CHARS_MAX).optional(),
})

/**
 * `GET /v1/events`: what happens at this node and what it hears of, as server-sent events. A
 * reader that comes back sends `Last-Event-ID` and misses nothing that is still kept; what is not
 * is told by an event `gap`. A token is told only what it could ask for.
 */
export async function eventRoutes(
  app: FastifyInstance,
  { events, isRevoked }: EventRoutesOptions,
): Promise<void> {
  // Streams have no end of their own that closing the server could wait for.
  app.addHook('preClose', () => events.streams.stop())

  const config = { scope: 'mesh:read' as const, execTimeoutMs: 0 }
  app.get('/v1/events', { config }, async (request, reply) => {
    const accepts = filterOf(request)
    const claims = request.claims!
    const body = events.streams.open({
      tokenId: claims.id,
      lastEventId: headerOf(request, 'last-event-id'),
      accepts,
      isAllowed: async () =>
        claims.expiresAt * 1000 > Date.now() && !((await isRevoked?.(claims.id)) ?? false),
      signal: abandonedSignal(reply),
      cut: () => void reply.raw.destroy(),
    })
    return reply
      .type('text/event-stream')
      .header('cache-control', 'no-store')
      .header('x-accel-buffering', 'no')
      .send(body)
  })
}

function filterOf(request: FastifyRequest): (event: LoggedEvent) => boolean {
  const query = parseWith(eventQuery, request.query)
  const wanted = query.project === undefined ? undefined : checkLabel('project', query.project)
  if (wanted !== undefined) requireProject(request, wanted)
  const { scopes = [], projects = [] } = request.claims ?? {}
  const types = new Set(
    [...parseTypes(query.types)].filter((type) => scopes.includes(EVENT_SCOPES[type])),
  )
  return ({ type, project }) => {
    if (!types.has(type)) return false
    if (wanted !== undefined) return project === wanted
    return project === null || projects.some((pattern) => projectMatches(pattern, project))
  }
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}
