import { BlobNotFoundError } from '../../shared/errors.ts'
import type { BlobTransfer, RemoteBlob } from '../transfer/blob-transfer.ts'
import { HEDGE_DELAY_MS } from './constants.ts'

interface Opened {
  peerId: string
  remote: RemoteBlob
}

export interface HedgedSourceInit {
  hash: string
  /** In the order in which they are tried. */
  peerIds: readonly string[]
  signal: AbortSignal
  hedgeDelayMs?: number
}

/**
 * The bytes of one blob from whichever peer gives them first. A peer that has not begun to answer
 * after a moment is joined by the next; the first to answer is read, the others are let go. When
 * it breaks off, the next one goes on at the same byte. Nothing is verified here.
 */
export class HedgedSource {
  /** Peers that said that they do not hold the blob. */
  readonly lacking: string[] = []
  /** Peers whose bytes were handed out. */
  readonly givers: string[] = []
  readonly #transfer: Pick<BlobTransfer, 'fetch'>
  readonly #init: HedgedSourceInit
  readonly #untried: string[]
  #remote: RemoteBlob | undefined
  #lastError: unknown

  constructor(components: { transfer: Pick<BlobTransfer, 'fetch'> }, init: HedgedSourceInit) {
    this.#transfer = components.transfer
    this.#init = init
    this.#untried = [...init.peerIds]
  }

  /**
   * Undefined when nobody holds the blob.
   * @throws what the last peer failed with when some could not be asked
   */
  async open(): Promise<AsyncIterable<Uint8Array> | undefined> {
    const first = await this.#openAt(0)
    if (first) return this.#bytes(first)
    if (this.#lastError !== undefined) throw this.#lastError as Error
    return undefined
  }

  /** Says that a chunk is no longer used: see RemoteBlob. */
  release(chunk: Uint8Array): void {
    this.#remote?.release?.(chunk)
  }

  async *#bytes(first: Opened): AsyncGenerator<Uint8Array> {
    let source: Opened | undefined = first
    let position = 0
    while (source) {
      this.givers.push(source.peerId)
      this.#remote = source.remote
      try {
        for await (const chunk of source.remote.body) {
          position += chunk.length
          yield chunk
        }
        return
      } catch (error) {
        this.#init.signal.throwIfAborted()
        this.#lastError = error
        source = await this.#openAt(position)
      }
    }
    throw this.#lastError as Error
  }

  /** The first of the untried peers that answers, or undefined when none does. */
  async #openAt(start: number): Promise<Opened | undefined> {
    const { signal, hedgeDelayMs = HEDGE_DELAY_MS } = this.#init
    const racing = new Map<string, { controller: AbortController; opening: Promise<Event> }>()
    try {
      while (racing.size > 0 || this.#untried.length > 0) {
        signal.throwIfAborted()
        const next = this.#untried.shift()
        if (next !== undefined) {
          const controller = new AbortController()
          racing.set(next, { controller, opening: this.#fetch(next, start, controller) })
        }
        const waits: Promise<Event>[] = [...racing.values()].map(({ opening }) => opening)
        const event = await this.#first(waits, this.#untried.length > 0 ? hedgeDelayMs : undefined)
        if (event.type === 'opened') {
          racing.delete(event.peerId)
          return { peerId: event.peerId, remote: event.remote }
        }
        if (event.type === 'failed') racing.delete(event.peerId)
      }
      return undefined
    } finally {
      for (const { controller } of racing.values()) controller.abort()
    }
  }

  async #fetch(peerId: string, start: number, controller: AbortController): Promise<Event> {
    const { hash, signal } = this.#init
    const both = AbortSignal.any([signal, controller.signal])
    try {
      const remote = await this.#transfer.fetch(peerId, hash, { start, signal: both })
      return { type: 'opened', peerId, remote }
    } catch (error) {
      if (error instanceof BlobNotFoundError) this.lacking.push(peerId)
      else this.#lastError = error
      return { type: 'failed', peerId }
    }
  }

  /** What happens first; 'slow' when nothing does in time. */
  async #first(waits: Promise<Event>[], delayMs: number | undefined): Promise<Event> {
    if (delayMs === undefined) return Promise.race(waits)
    let timer: NodeJS.Timeout | undefined
    const slow = new Promise<Event>((resolve) => {
      timer = setTimeout(() => resolve({ type: 'slow' }), delayMs)
    })
    try {
      return await Promise.race([...waits, slow])
    } finally {
      clearTimeout(timer)
    }
  }
}

type Event =
  | { type: 'opened'; peerId: string; remote: RemoteBlob }
  | { type: 'failed'; peerId: string }
  | { type: 'slow' }
