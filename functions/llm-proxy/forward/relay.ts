import type { ServerResponse } from 'node:http'

/** A caller that does not read gets this long to take the last bytes of a stream that breaks. */
const BREAK_FLUSH_MS = 1000

/** An answer on its way to the caller: begun with its first byte, ended whole or visibly broken. */
export class Relay {
  readonly #raw: ServerResponse
  #isEvents = false
  #begun = false
  #firstByteMs: number | null = null

  constructor(raw: ServerResponse) {
    this.#raw = raw
  }

  get begun(): boolean {
    return this.#begun
  }

  /** Of the monotonic clock; null until then. */
  get firstByteMs(): number | null {
    return this.#firstByteMs
  }

  begin(status: number, headers: Record<string, string | string[]>): void {
    this.#begun = true
    this.#isEvents =
      String(headers['content-type']).startsWith('text/event-stream') &&
      headers['content-encoding'] === undefined
    this.#raw.writeHead(status, headers)
  }

  /** False when the caller does not keep up: then nothing more until `onDrain`. */
  write(chunk: Buffer): boolean {
    this.#firstByteMs ??= performance.now()
    return this.#raw.write(chunk)
  }

  onDrain(listener: () => void): void {
    this.#raw.once('drain', listener)
  }

  end(): void {
    this.#raw.end()
  }

  /**
   * Breaks off what has begun. The last chunk of the transfer encoding is never sent, so no client
   * takes it for whole; a reader of events is told why first.
   */
  break(body: object): void {
    const raw = this.#raw
    if (raw.destroyed || raw.writableEnded) return
    if (!this.#isEvents) {
      raw.destroy()
      return
    }
    const timer = setTimeout(() => raw.destroy(), BREAK_FLUSH_MS)
    raw.write(`\nevent: error\ndata: ${JSON.stringify(body)}\n\n`, () => {
      clearTimeout(timer)
      raw.destroy()
    })
  }
}
