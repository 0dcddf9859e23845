export const ROLE_NAMES = ['viewer', 'agent', 'operator', 'admin'] as const

export type Role = (typeof ROLE_NAMES)[number]

interface ScopeRow {
  means: string
  /** The least role that has it; every later role of `ROLE_NAMES` has it too. */
  from: Role
  /** True where a route tells of all projects or changes something of all: then a token that is
   * limited to some projects is refused, whatever its role. */
  everyProject?: true
}

/**
 * What a token may do. Every route of every function, of the gateway and of the daemon names one
 * of these; roles are sets of them. This table is the only place that says so, and docs/SECURITY.md
 * is drawn from it.
 */
const TABLE = {
  'blob:read': { means: 'read blobs whose hash one knows', from: 'viewer' },
  'address:read': { means: 'resolve addresses, read their history and quotas', from: 'viewer' },
  'mesh:read': { means: 'see nodes, peers and their state', from: 'viewer' },
  'job:read': { means: 'see jobs, their state and result', from: 'viewer' },
  'agent:read': { means: 'see agents and what they can do', from: 'viewer' },
  'usage:read': { means: 'see what model calls used and cost', from: 'viewer' },
  'thread:read': { means: 'read, search, verify and export threads', from: 'viewer' },
  'blob:write': { means: 'store blobs, pin and lease them', from: 'agent' },
  'address:write': { means: 'write the next version of an address', from: 'agent' },
  'thread:write': { means: 'create threads, fork them and append messages', from: 'agent' },
  'agent:write': { means: 'register agents and renew their leases', from: 'agent' },
  'job:write': { means: 'submit jobs and cancel them', from: 'agent' },
  'llm:invoke': { means: 'call models through the proxy', from: 'agent' },
  'node:manage': {
    means:
      'drain nodes, start collections and scrubs, hold collections, say which nodes may write what',
    from: 'operator',
    everyProject: true,
  },
  'admin:*': {
    means: 'deploy functions, read secrets’ names, remove nodes; stands for every other scope',
    from: 'admin',
    everyProject: true,
  },
} as const satisfies Record<string, ScopeRow>

export type Scope = keyof typeof TABLE

export const SCOPE_TABLE: Readonly<Record<Scope, ScopeRow>> = TABLE

export const SCOPES = Object.keys(TABLE) as readonly Scope[]

function scopesOf(role: Role): readonly Scope[] {
  const rank = ROLE_NAMES.indexOf(role)
  return SCOPES.filter((scope) => ROLE_NAMES.indexOf(SCOPE_TABLE[scope].from) <= rank)
}

export const ROLES: Readonly<Record<Role, readonly Scope[]>> = {
  viewer: scopesOf('viewer'),
  agent: scopesOf('agent'),
  operator: scopesOf('operator'),
  admin: scopesOf('admin'),
}

export function isRole(text: string): text is Role {
  return Object.hasOwn(ROLES, text)
}

export function isScope(text: string): text is Scope {
  return Object.hasOwn(TABLE, text)
}

/**
 * The scopes of a token: those of its role, or the ones among them that it was limited to. They
 * are looked up when the token is used, so a role that gains a scope gives it to older tokens too;
 * a scope this version does not know grants nothing.
 */
export function grantedScopes(role: Role, limitedTo: readonly string[] | undefined): Scope[] {
  const held = ROLES[role]
  if (limitedTo === undefined || limitedTo.includes('admin:*')) return [...held]
  return held.filter((scope) => limitedTo.includes(scope))
}
