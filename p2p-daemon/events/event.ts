import type { Scope } from '../../shared/auth/scopes.ts'
import { InvalidRequestError } from '../../shared/errors.ts'

/**
 * Every type of event and the scope that a token needs to be told of it. `gap` is not among them:
 * it is about the stream itself and reaches every reader.
 */
export const EVENT_SCOPES = {
  'peer.joined': 'mesh:read',
  'peer.left': 'mesh:read',
  'mesh.partition': 'mesh:read',
  'agent.registered': 'agent:read',
  'agent.changed': 'agent:read',
  'agent.withdrawn': 'agent:read',
  'agent.expired': 'agent:read',
  'record.written': 'address:read',
  'replication.repaired': 'mesh:read',
  'replication.changed': 'mesh:read',
} as const satisfies Record<string, Scope>

export type EventType = keyof typeof EVENT_SCOPES

export const EVENT_TYPES = Object.keys(EVENT_SCOPES) as readonly EventType[]

export interface NodeEvent {
  type: EventType
  /** Null for what concerns no project. */
  project: string | null
  data: object
}

/**
 * `agent.*,record.written` to the types it names; undefined stands for all.
 * @throws InvalidRequestError for a name that no type has
 */
export function parseTypes(text: string | undefined): ReadonlySet<EventType> {
  if (text === undefined) return new Set(EVENT_TYPES)
  const types = text.split(',').flatMap((part) => {
    const name = part.trim()
    const named = EVENT_TYPES.filter((type) =>
      name.endsWith('.*') ? type.startsWith(name.slice(0, -1)) : type === name,
    )
    if (named.length > 0) return named
    throw new InvalidRequestError(`There is no event ${name}; there are ${EVENT_TYPES.join(', ')}.`)
  })
  return new Set(types)
}
