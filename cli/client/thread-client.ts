import { DaemonUnavailableError } from '../../shared/errors.ts'
import { PROGRESS_MEDIA_TYPE } from '../../shared/function/progress.ts'
import { fromWireError } from '../../shared/http/wire-error.ts'
import type { threadJSON } from '../../shared/thread/export.ts'
import type { NewMessage } from '../../shared/thread/new-message.ts'
import type { ReadMessage } from '../../shared/thread/thread-query.ts'
import type { VerifyReport } from '../../shared/thread/verify.ts'
import type { CommandHost } from '../host.ts'
import { findConnection } from './connection.ts'
import { call, callJSON, type Answer } from './http.ts'

export type ThreadJSON = ReturnType<typeof threadJSON>

export interface Appended {
  messages: { hash: string; seq: number; existed: boolean }[]
  thread: { address: string; version: number; seq: number; messages: number }
}

export interface MessagePage {
  messages: ReadMessage[]
  next: string | null
}

type Query = Readonly<Record<string, string | number | undefined>>

/** Speaks to the function `threads` through the gateway. */
export class ThreadClient {
  readonly #url: string
  readonly #token: string
  readonly #signal: AbortSignal

  constructor(init: { gatewayURL: string; token: string; signal: AbortSignal }) {
    this.#url = `${init.gatewayURL}/function/threads/v1/threads`
    this.#token = init.token
    this.#signal = init.signal
  }

  create(thread: { address: string; title?: string; key?: string }): Promise<ThreadJSON> {
    return this.#post('', {}, thread)
  }

  append(address: string, messages: readonly NewMessage[], create: boolean): Promise<Appended> {
    return this.#post('/messages', { address }, { messages, create })
  }

  read(query: Query): Promise<MessagePage & { thread: ThreadJSON }> {
    return this.#get('/messages', query)
  }

  list(query: Query): Promise<{ threads: ThreadJSON[]; next: string | null }> {
    return this.#get('', query)
  }

  search(query: Query): Promise<MessagePage> {
    return this.#get('/search', query)
  }

  fork(
    address: string,
    fork: { to: string; at?: string; title?: string; key?: string },
  ): Promise<ThreadJSON> {
    return this.#post('/forks', { address }, fork)
  }

  export(query: Query): Promise<Answer> {
    return call(this.#locate('/export', query), { token: this.#token, signal: this.#signal })
  }

  /** Tells how far it is, 0 to 100, while the thread is walked. */
  async verify(address: string, onProgress: (percent: number) => void): Promise<VerifyReport> {
    const { body } = await call(this.#locate('/verification', { address }), {
      token: this.#token,
      signal: this.#signal,
      headers: { accept: PROGRESS_MEDIA_TYPE },
    })
    body.setEncoding('utf8')
    let rest = ''
    for await (const text of body) {
      const lines = (rest + String(text)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const said = JSON.parse(line) as Line
        if ('progress' in said) onProgress(said.progress)
        else if (said.status < 400) return JSON.parse(said.body) as VerifyReport
        else throw fromWireError(said.status, said.body)
      }
    }
    throw new DaemonUnavailableError('The verification was cut off; try again.')
  }

  #get<T>(path: string, query: Query): Promise<T> {
    return callJSON(this.#locate(path, query), { token: this.#token, signal: this.#signal })
  }

  #post<T>(path: string, query: Query, body: object): Promise<T> {
    return callJSON(this.#locate(path, query), {
      method: 'POST',
      token: this.#token,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(body)),
      signal: this.#signal,
    })
  }

  #locate(path: string, query: Query): string {
    const given = new URLSearchParams()
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) given.set(name, String(value))
    }
    return `${this.#url}${path}?${given.toString()}`
  }
}

type Line = { progress: number } | { status: number; body: string }

export async function findThreads(
  host: CommandHost,
  options: { data?: string },
): Promise<ThreadClient> {
  const { gatewayURL, token } = await findConnection(host, options.data)
  return new ThreadClient({ gatewayURL, token, signal: host.signal })
}
