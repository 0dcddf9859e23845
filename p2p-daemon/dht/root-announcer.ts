import { LRUCache } from 'lru-cache'

import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { AddressRecord } from '../../shared/record/record.ts'
import { EXCHANGES_MEDIA_TYPE } from '../../shared/llm/exchange.ts'
import { THREAD_MEDIA_TYPE } from '../../shared/thread/head.ts'
import type { Clock } from '../clock.ts'
import { KeyPace } from '../key-pace.ts'
import type { RecordStore } from '../records/record-store.ts'
import type { BlobStore } from '../store/blob-store.ts'
import {
  ROOTS_LOOKED_AT_ONCE_MAX,
  ROOTS_OFTEN_MAX,
  ROOTS_PASS_DELAY_MS,
  ROOTS_PASS_INTERVAL_MS,
  ROOTS_PER_PAGE,
  ROOTS_REST_MS,
} from './constants.ts'
import { rootKey } from './keys.ts'
import type { Provider } from './provider.ts'
import type { ProviderStore } from './provider-store.ts'

/** These have a version for every few messages or calls: only the newest is announced. */
const OFTEN_WRITTEN: ReadonlySet<string> = new Set([THREAD_MEDIA_TYPE, EXCHANGES_MEDIA_TYPE])

export interface RootAnnouncerComponents {
  provider: Pick<Provider, 'provide' | 'withdraw'>
  provided: Pick<ProviderStore, 'page'>
  records: Pick<RecordStore, 'heads' | 'head' | 'byHash'>
  blobs: Pick<BlobStore, 'stat'>
  log: Logger
  clock: Clock
}

/**
 * Announces this node as a holder of what addresses point at: when a record comes and its content
 * is here, when the content is deleted, and in a pass over everything now and then, which finds
 * what came or went otherwise.
 */
export class RootAnnouncer implements Startable {
  readonly #components: RootAnnouncerComponents
  readonly #looking = new Set<string>()
  readonly #pace: KeyPace
  /** What was announced of addresses that are often written. */
  readonly #newest = new LRUCache<string, string>({ max: ROOTS_OFTEN_MAX })
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()

  constructor(components: RootAnnouncerComponents, init: { restMs?: number } = {}) {
    this.#components = components
    this.#pace = new KeyPace({
      restMs: init.restMs ?? ROOTS_REST_MS,
      keysMax: ROOTS_OFTEN_MAX,
      run: (name) => this.#announceNewest(name),
    })
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#pace.flush()
    this.#controller = undefined
    await this.#loop
  }

  /** A record is here now; the next pass looks at those that come too fast. */
  onRecord({ address, hash, mediaType }: AddressRecord): void {
    if (OFTEN_WRITTEN.has(mediaType)) this.#pace.call(address)
    else this.#lookSoon(hash)
  }

  #lookSoon(hash: string): void {
    if (!this.#controller || this.#looking.size >= ROOTS_LOOKED_AT_ONCE_MAX) return
    if (this.#looking.has(hash)) return
    this.#looking.add(hash)
    this.#look(hash)
      .catch((error: unknown) => this.#components.log.debug({ err: error }, 'root not looked at'))
      .finally(() => this.#looking.delete(hash))
  }

  /**
   * In place of what was announced before: after a rest that is the version before this one. A
   * crash between the two leaves one announcement too many.
   */
  #announceNewest(name: string): void {
    const { records, provider } = this.#components
    const head = records.head(name)
    if (!head) return
    const { hash, previous } = head
    const before =
      this.#newest.get(name) ?? (previous === null ? undefined : records.byHash(previous)?.hash)
    if (before !== undefined && before !== hash) provider.withdraw(rootKey(before))
    this.#newest.set(name, hash)
    this.#lookSoon(hash)
  }

  /** The content is not here any more. */
  onDeleted(hash: string): void {
    this.#components.provider.withdraw(rootKey(hash))
  }

  /** Compares what is announced with what is here. */
  async pass(signal?: AbortSignal): Promise<void> {
    const { provided, records, blobs, provider } = this.#components
    for (let after = 'root/', page = provided.page(after, ROOTS_PER_PAGE); page.length > 0;) {
      for (const key of page.filter((each) => each.startsWith('root/'))) {
        signal?.throwIfAborted()
        if (!(await blobs.stat(key.slice('root/'.length)))) provider.withdraw(key)
      }
      after = page.at(-1)!
      page = provided.page(after, ROOTS_PER_PAGE)
    }
    for (let heads = records.heads('', ROOTS_PER_PAGE); heads.length > 0;) {
      for (const { name } of heads) {
        signal?.throwIfAborted()
        const head = records.head(name)
        if (head) await this.#look(head.hash)
      }
      heads = records.heads(heads.at(-1)!.name, ROOTS_PER_PAGE)
    }
  }

  async #look(hash: string): Promise<void> {
    const { blobs, provider } = this.#components
    if (await blobs.stat(hash)) provider.provide(rootKey(hash))
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components
    await clock.sleep(ROOTS_PASS_DELAY_MS, signal).catch(() => undefined)
    while (!signal.aborted) {
      await this.pass(signal).catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error }, 'roots could not be compared, tried later')
      })
      await clock.sleep(ROOTS_PASS_INTERVAL_MS, signal).catch(() => undefined)
    }
  }
}
