import { Agent, request } from 'undici'

import { createHasher } from '../../shared/blob/hash.ts'

export interface Answer {
  status: number
  code: string | null
}

/** What a read gave: the right bytes, other bytes under the hash, or no bytes. */
export type Read = 'good' | 'wrong' | Answer

/** Blobs of one daemon over HTTP, with connections of its own, so that none outlives the daemon. */
export class BlobClient {
  readonly #url: string
  readonly #headers: Record<string, string>
  readonly #agent = new Agent()

  constructor(url: string, token: string) {
    this.#url = `${url}/v1/blobs`
    this.#headers = { authorization: `Bearer ${token}` }
  }

  /** Rejects when the connection breaks. */
  async put(bytes: Uint8Array, ack = 'quorum'): Promise<Answer & { replicas: string[] }> {
    const { statusCode, body } = await request(`${this.#url}?ack=${ack}`, {
      method: 'PUT',
      body: bytes,
      headers: this.#headers,
      dispatcher: this.#agent,
    })
    const said = (await body.json()) as { error?: { code: string }; replicas?: string[] }
    return { status: statusCode, code: said.error?.code ?? null, replicas: said.replicas ?? [] }
  }

  /** Reads to the end and hashes what came. A body that breaks off rejects. */
  async read(hash: string): Promise<Read> {
    const { statusCode, body } = await request(`${this.#url}/${hash}`, {
      headers: this.#headers,
      dispatcher: this.#agent,
    })
    if (statusCode !== 200) {
      const said = (await body.json()) as { error?: { code: string } }
      return { status: statusCode, code: said.error?.code ?? null }
    }
    const hasher = createHasher()
    for await (const chunk of body) hasher.update(chunk as Buffer)
    return hasher.digestHex() === hash ? 'good' : 'wrong'
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}
