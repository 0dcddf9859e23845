import autocannon from 'autocannon'

/** Clients at once, each with one request under way on a connection that stays. */
export const CONNECTIONS = 32

const WARM_UP_SECONDS = 1
const SECONDS = 2

/** Requests per second that a server answers when it is asked as fast as it can. */
export async function rate(url: string, headers: Record<string, string> = {}): Promise<number> {
  const load = { url, headers, connections: CONNECTIONS }
  await autocannon({ ...load, duration: WARM_UP_SECONDS })
  const result = await autocannon({ ...load, duration: SECONDS })
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`${result.non2xx} were not answered.`)
  return result.requests.average
}
