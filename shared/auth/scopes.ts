/**
 * What a token may do. Every route of every function and of the daemon names one of these scopes;
 * roles are sets of them. This table is the only place that says so.
 */
export const SCOPES = [
  'blob:read',
  'blob:write',
  'address:read',
  'address:write',
  'mesh:read',
  'admin:*',
] as const

export type Scope = (typeof SCOPES)[number]

export const ROLES = {
  viewer: ['blob:read', 'address:read', 'mesh:read'],
  agent: ['blob:read', 'blob:write', 'address:read', 'address:write', 'mesh:read'],
  operator: ['blob:read', 'blob:write', 'address:read', 'address:write', 'mesh:read'],
  admin: [...SCOPES],
} as const satisfies Record<string, readonly Scope[]>

export type Role = keyof typeof ROLES

export function isRole(text: string): text is Role {
  return Object.hasOwn(ROLES, text)
}

export function isScope(text: string): text is Scope {
  return (SCOPES as readonly string[]).includes(text)
}
