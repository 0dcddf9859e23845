import { Pool } from 'undici'

/** A message and its headers, as they are sent again and again. */
export interface Sent {
  headers: Record<string, string>
  body: string
}

export interface Measured {
  perSecond: number
  p50Ms: number
  p99Ms: number
}

/** Sends the messages in turn over so many connections until the time is over. */
export async function load(
  url: string,
  messages: readonly Sent[],
  { clients, seconds }: { clients: number; seconds: number },
): Promise<Measured> {
  const { origin, pathname, search } = new URL(url)
  const pool = new Pool(origin, { connections: clients })
  const times: number[] = []
  const startedAt = performance.now()
  const endAt = startedAt + seconds * 1000
  const client = async (first: number) => {
    for (let turn = first; performance.now() < endAt; turn += 1) {
      const { headers, body } = messages[turn % messages.length]!
      const sentAt = performance.now()
      const path = pathname + search
      const answer = await pool.request({ method: 'POST', path, headers, body })
      const text = await answer.body.text()
      times.push(performance.now() - sentAt)
      if (answer.statusCode === 200 && text.includes('"result"')) continue
      throw new Error(`${answer.statusCode} ${text.slice(0, 500)}`)
    }
  }
  try {
    await Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
  } finally {
    await pool.close()
  }
  const elapsed = (performance.now() - startedAt) / 1000
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN
  return { perSecond: times.length / elapsed, p50Ms: at(0.5), p99Ms: at(0.99) }
}
