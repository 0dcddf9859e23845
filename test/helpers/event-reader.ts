import { until } from './mesh.ts'

export interface ReadEvent {
  type: string
  id: string
  data: Record<string, unknown>
}

/** Reads one stream of server-sent events as an EventSource does, and keeps what it was told. */
export class EventReader implements AsyncDisposable {
  readonly events: ReadEvent[] = []
  /** What a reader that comes back sends as `Last-Event-ID`. */
  lastEventId = ''
  ended = false
  readonly #leaving = new AbortController()
  readonly #reading: Promise<void>

  constructor(answer: Response, leaving: AbortController) {
    this.#leaving = leaving
    this.#reading = this.#read(answer).then(
      () => void (this.ended = true),
      () => void (this.ended = true),
    )
  }

  /** @throws Error with the answer of the server when it is not a stream */
  static async open(
    url: string,
    init: { token: string; lastEventId?: string },
  ): Promise<EventReader> {
    const leaving = new AbortController()
    const headers = {
      authorization: `Bearer ${init.token}`,
      ...(init.lastEventId !== undefined && { 'last-event-id': init.lastEventId }),
    }
    const answer = await fetch(url, { headers, signal: leaving.signal })
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
    return new EventReader(answer, leaving)
  }

  of(type: string): ReadEvent[] {
    return this.events.filter((event) => event.type === type)
  }

  /** The first event of the type that the predicate takes, seen already or to come. */
  async first(
    type: string,
    accepts: (data: Record<string, unknown>) => boolean = () => true,
  ): Promise<ReadEvent> {
    const find = (): ReadEvent | undefined => this.of(type).find(({ data }) => accepts(data))
    await until(() => find() !== undefined, `an event ${type}`)
    return find()!
  }

  async close(): Promise<void> {
    this.#leaving.abort()
    await this.#reading
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #read(answer: Response): Promise<void> {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of answer.body!) {
      rest += decoder.decode(chunk, { stream: true })
      const blocks = rest.split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) this.#take(block)
    }
  }

  #take(block: string): void {
    const field = (name: string): string | undefined =>
      block.match(new RegExp(`^${name}: (.*)$`, 'm'))?.[1]
    this.lastEventId = field('id') ?? this.lastEventId
    const data = field('data')
    if (data === undefined) return
    const parsed = JSON.parse(data) as Record<string, unknown>
    this.events.push({ type: field('event') ?? 'message', id: this.lastEventId, data: parsed })
  }
}
