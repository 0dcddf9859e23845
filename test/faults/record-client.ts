import { Agent, request } from 'undici'

/** A record as the HTTP API tells of it, as far as these tests look. */
export interface SeenRecord {
  version: number
  hash: string
  timestamp: string
  /** The hash of the record itself. */
  record: string
}

/** Longer than any write that is answered at all; a daemon that takes longer hangs. */
const ANSWER_TIMEOUT_MS = 60_000

/** Records of one daemon over HTTP. */
export class RecordClient {
  readonly #url: string
  readonly #headers: Record<string, string>
  readonly #agent = new Agent({ headersTimeout: ANSWER_TIMEOUT_MS })

  constructor(url: string, token: string) {
    this.#url = url
    this.#headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  }

  /** The record, once it is acknowledged, or the code of the refusal. */
  async write(address: string, hash: string): Promise<SeenRecord | string> {
    const body = JSON.stringify({ hash, mediaType: 'text/plain' })
    const answer = await this.#ask('PUT', 'addresses', address, body)
    const { record, error } = answer as { record?: SeenRecord; error?: { code: string } }
    return record ?? error?.code ?? 'no answer'
  }

  /** The head as this node sees it; undefined where it finds none. */
  async head(address: string): Promise<{ record: SeenRecord; forks: number } | undefined> {
    const answer = (await this.#ask('GET', 'resolve', address)) as Partial<{
      record: SeenRecord
      forks: number
    }>
    return answer.record && { record: answer.record, forks: answer.forks ?? 0 }
  }

  /** Every record this node knows of the address, forks included. */
  async history(address: string): Promise<SeenRecord[]> {
    const all: SeenRecord[] = []
    let before = ''
    for (;;) {
      const page = (await this.#ask('GET', 'addresses', `${address}${before}`)) as Partial<{
        records: SeenRecord[]
        next: number | null
      }>
      all.push(...(page.records ?? []))
      if (!page.next) return all
      before = `&before=${page.next}`
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async #ask(method: 'GET' | 'PUT', path: string, address: string, body?: string) {
    const [name, ...query] = address.split('&')
    const rest = query.map((part) => `&${part}`).join('')
    const url = `${this.#url}/v1/${path}?address=${encodeURIComponent(name ?? '')}${rest}`
    const { body: answer } = await request(url, {
      method,
      headers: this.#headers,
      dispatcher: this.#agent,
      ...(body !== undefined && { body }),
    })
    return (await answer.json()) as unknown
  }
}
