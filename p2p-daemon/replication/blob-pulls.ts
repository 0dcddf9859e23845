import { HashMismatchError } from '../../shared/errors.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { BlobTransfer } from '../transfer/blob-transfer.ts'
import {
  PROVIDERS_TIMEOUT_MS,
  PULL_SOURCES_MAX,
  PULLS_MAX,
  PULLS_WAITING_MAX,
} from './constants.ts'
import { HedgedSource } from './hedged-source.ts'
import type { Members } from './members.ts'
import { Semaphore } from './semaphore.ts'
import { SharedTasks } from './shared-tasks.ts'
import type { TokenBucket } from './token-bucket.ts'

export interface PullOptions {
  /** Peers to ask, in order. Default: the holders, then every other peer. */
  from?: readonly string[]
  /** Paces the bytes that arrive. */
  bucket?: TokenBucket
  signal?: AbortSignal
}

export interface Pulled {
  found: boolean
  /** False when the blob was here already. */
  moved: boolean
  /** Peers that were asked and do not hold it. */
  lacking: readonly string[]
}

export interface BlobPullsComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers'>
  store: BlobStore
  transfer: Pick<BlobTransfer, 'fetch'>
  members: Pick<Members, 'holders' | 'isLive'>
  /** Who announced the blob, which only roots are. */
  findProviders?: (hash: string, signal: AbortSignal) => AsyncIterable<string>
}

/** Brings blobs here. All who want the same blob share one pull, whatever becomes of the others. */
export class BlobPulls {
  readonly #components: BlobPullsComponents
  readonly #hedgeDelayMs: number | undefined
  readonly #pulls = new SharedTasks<Pulled>()
  readonly #slots = new Semaphore({ running: PULLS_MAX, waiting: PULLS_WAITING_MAX })

  constructor(components: BlobPullsComponents, init: { hedgeDelayMs?: number } = {}) {
    this.#components = components
    this.#hedgeDelayMs = init.hedgeDelayMs
  }

  /**
   * Resolves once the blob is durable here, or with `found: false` when nobody asked holds it.
   * @throws what the last source failed with, when one could not be asked
   */
  async pull(hash: string, options: PullOptions = {}): Promise<Pulled> {
    const peerIds = options.from ?? this.#sources(hash)
    const task = (signal: AbortSignal): Promise<Pulled> =>
      this.#slots.run(async () => {
        const pulled = await this.#pull(hash, peerIds, options.bucket, signal)
        if (pulled.found || options.from) return pulled
        const more = await this.#announced(hash, peerIds, signal)
        if (more.length === 0) return pulled
        const last = await this.#pull(hash, more, options.bucket, signal)
        return { ...last, lacking: [...pulled.lacking, ...last.lacking] }
      }, signal)
    return this.#pulls.run(hash, task, options.signal)
  }

  /** Holders in order, then everybody: a stand-in or a reader may have a copy too. */
  #sources(hash: string): string[] {
    const { mesh, members } = this.#components
    const holders = members.holders(hash).filter((peerId) => members.isLive(peerId))
    const everybody = mesh.peers().map(({ peerId }) => peerId)
    const others = [...new Set([...holders, ...everybody])]
    return others.filter((peerId) => peerId !== mesh.self.peerId).slice(0, PULL_SOURCES_MAX)
  }

  /**
   * Peers that were not asked and are here by now, from the table. Not looked for when everybody
   * there is was asked: a table cannot know more than they do.
   */
  async #announced(hash: string, asked: readonly string[], signal: AbortSignal): Promise<string[]> {
    const { mesh, findProviders } = this.#components
    const isWhole = mesh.expectedPeers().every((peerId) => asked.includes(peerId))
    if (!findProviders || isWhole) return []
    const limit = AbortSignal.any([signal, AbortSignal.timeout(PROVIDERS_TIMEOUT_MS)])
    const found: string[] = []
    try {
      for await (const peerId of findProviders(hash, limit)) {
        if (!asked.includes(peerId) && found.push(peerId) >= PULL_SOURCES_MAX) break
      }
    } catch {
      // What was found so far is tried.
      signal.throwIfAborted()
    }
    const here = new Set(mesh.peers().map(({ peerId }) => peerId))
    return found.filter((peerId) => here.has(peerId))
  }

  async #pull(
    hash: string,
    peerIds: readonly string[],
    bucket: TokenBucket | undefined,
    signal: AbortSignal,
  ): Promise<Pulled> {
    const lacking: string[] = []
    let lastError: unknown
    const groups: string[][] = [[...peerIds]]
    // A group is replaced by smaller ones or by none, so this ends.
    for (let group = groups.shift(); group; group = groups.shift()) {
      if (await this.#components.store.touch(hash)) return { found: true, moved: false, lacking }
      const source = this.#sourceOf(hash, group, signal)
      try {
        const body = await source.open()
        lacking.push(...source.lacking)
        if (!body) continue
        const onTaken = (chunk: Uint8Array): void => source.release(chunk)
        const options = { expectedHash: hash, onTaken, signal }
        await this.#components.store.put(paced(body, bucket, signal), options)
        return { found: true, moved: true, lacking }
      } catch (error) {
        signal.throwIfAborted()
        lastError = error
        if (error instanceof HashMismatchError) groups.unshift(...without(source.givers, group))
      }
    }
    if (lastError !== undefined) throw lastError as Error
    return { found: false, moved: false, lacking }
  }

  #sourceOf(hash: string, peerIds: readonly string[], signal: AbortSignal): HedgedSource {
    const { transfer } = this.#components
    const hedge = this.#hedgeDelayMs === undefined ? {} : { hedgeDelayMs: this.#hedgeDelayMs }
    return new HedgedSource({ transfer }, { hash, peerIds, signal, ...hedge })
  }
}

/**
 * Who is left to try after `givers` gave bytes that are not the blob. With several it is not known
 * whose were wrong: then each is tried alone.
 */
function without(givers: readonly string[], group: readonly string[]): string[][] {
  if (givers.length > 1) return group.map((peerId) => [peerId])
  const rest = group.filter((peerId) => !givers.includes(peerId))
  return rest.length > 0 ? [rest] : []
}

async function* paced(
  body: AsyncIterable<Uint8Array>,
  bucket: TokenBucket | undefined,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    await bucket?.take(chunk.length, signal)
    yield chunk
  }
}
