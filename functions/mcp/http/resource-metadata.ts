import type { Scope } from '../../../shared/auth/scopes.ts'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** Where the metadata of the endpoint lies: RFC 9728, the path of the endpoint behind it. */
export function metadataURL(publicURL: string): string {
  const { origin, pathname } = new URL(publicURL)
  return origin + metadataPath(pathname)
}

export function metadataPath(endpointPath: string): string {
  return WELL_KNOWN + (endpointPath === '/' ? '' : endpointPath)
}

/** From the configured URL, never from a request: a proxy in front would be left out. */
export function resourceMetadata(
  publicURL: string,
  {
    scopes,
    authorizationServers,
  }: { scopes: readonly Scope[]; authorizationServers: readonly string[] },
): object {
  return {
    resource: publicURL,
    resource_name: 'bzzz',
    bearer_methods_supported: ['header'],
    scopes_supported: scopes,
    ...(authorizationServers.length > 0 && { authorization_servers: authorizationServers }),
  }
}

/** `WWW-Authenticate` of RFC 6750, with where to learn more. No value holds a quote. */
export function challenge(fields: { error?: string; scope?: string }, publicURL: string): string {
  const given = { ...fields, resource_metadata: metadataURL(publicURL) }
  const parts = Object.entries(given).map(([name, value]) => `${name}="${value}"`)
  return `Bearer ${parts.join(', ')}`
}
