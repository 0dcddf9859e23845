import { Agent, request, type IncomingMessage } from 'node:http'

/** Where a call goes, and what it is allowed with. */
export interface Target {
  url: string
  headers: Record<string, string>
}

/** Keeps connections, as a client does that asks again and again. */
const agent = new Agent({ keepAlive: true, maxSockets: 2000 })

export interface OpenStream {
  /** Resolves with its last byte. */
  ended: Promise<void>
  /** From the call to its first byte. */
  firstByteMs: number
  leave: () => void
}

/** Resolves with the first byte of a stream. */
export function openStream({ url, headers }: Target, body: object): Promise<OpenStream> {
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    const call = request(`${url}/chat/completions`, {
      method: 'POST',
      agent,
      headers: { ...headers, 'content-type': 'application/json' },
    })
    call.on('error', reject)
    call.on('response', (answer) => {
      answer.on('error', () => undefined)
      const ended = endOf(answer)
      answer.once('data', () => {
        const firstByteMs = performance.now() - startedAt
        if (answer.statusCode !== 200)
          reject(new Error(`The call was answered ${answer.statusCode}.`))
        else resolve({ ended, firstByteMs, leave: () => call.destroy() })
      })
    })
    call.end(JSON.stringify(body))
  })
}

/** First bytes of so many streams, one behind the other, each read to its end. */
export async function firstBytes(target: Target, body: object, count: number): Promise<number[]> {
  const times: number[] = []
  for (let turn = 0; turn < count; turn += 1) {
    const { ended, firstByteMs } = await openStream(target, body)
    await ended
    times.push(firstByteMs)
  }
  return times
}

/** Taken before the first byte: the last one may come in the same turn. */
function endOf(answer: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    answer.once('end', () => resolve())
    answer.resume()
  })
}
