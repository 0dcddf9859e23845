/** Host and port of a Redis URL: what may be shown of it. */
export function describeRedis(url: string): string {
  try {
    const { hostname, port } = new URL(url)
    return `${hostname || 'localhost'}:${port || '6379'}`
  } catch {
    return 'an unreadable REDIS_URL'
  }
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, '') : 'unknown reason'
}
