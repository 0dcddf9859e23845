import { setTimeout as sleep } from 'node:timers/promises'

import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { BlobStat, BlobStore } from '../store/blob-store.ts'
import {
  SCAN_INTERVAL_MS,
  SCAN_PAGE_BLOBS,
  SCAN_PAUSE_MS,
  SCAN_QUEUE_MAX,
  SCAN_RETRY_MS,
} from './constants.ts'
import type { CopyLedger } from './copy-ledger.ts'
import type { LedgerDatabase } from './ledger-database.ts'
import type { Members } from './members.ts'
import type { RepairQueue } from './repair-queue.ts'
import type { ReplicaClient } from './replica-client.ts'

export interface RebalancerComponents {
  db: LedgerDatabase
  store: Pick<BlobStore, 'list' | 'usage'>
  members: Members
  client: Pick<ReplicaClient, 'which'>
  copies: CopyLedger
  queue: RepairQueue
  log: Logger
  isDraining: () => boolean
  isGarbage: (hash: string) => boolean
}

export interface RebalancerInit {
  pageBlobs?: number
  pauseMs?: number
  retryMs?: number
}

export interface RebalanceProgress {
  state: 'idle' | 'scanning'
  scannedBlobs: number
  /** Blobs on this node when the scan began. */
  totalBlobs: number
}

/**
 * Looks at every blob of this node and asks the nodes it belongs on whether they hold it; what is
 * not as it should be becomes a repair job. It runs when copies belong elsewhere than before, when
 * the ledger may have lost something, and once a day. A scan that was interrupted goes on where it
 * was; losing the ledger means a scan from the start.
 */
export class Rebalancer implements Startable {
  readonly #components: RebalancerComponents
  readonly #init: Required<RebalancerInit>
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined
  #isOutdated = false
  #progress: RebalanceProgress = { state: 'idle', scannedBlobs: 0, totalBlobs: 0 }

  constructor(components: RebalancerComponents, init: RebalancerInit = {}) {
    this.#components = components
    this.#init = {
      pageBlobs: SCAN_PAGE_BLOBS,
      pauseMs: SCAN_PAUSE_MS,
      retryMs: SCAN_RETRY_MS,
      ...init,
    }
    if (components.db.incomplete) this.request()
    // Also when they soon belong where they did before: meanwhile puts went elsewhere.
    components.members.onChange(() => this.request())
    components.members.onReturn((peerId) => {
      if (this.#unasked().includes(peerId)) this.request()
    })
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort(new Error('The rebalancer is stopping.'))
    this.#controller = undefined
    this.#wake()
    await this.#loop
  }

  /** Looks at everything again, from the start. */
  request(): void {
    this.#outdate()
    this.#wake()
  }

  progress(): RebalanceProgress {
    return this.#progress
  }

  /** Every blob was looked at and every holder asked since copies last had to move. */
  isSettled(): boolean {
    return !this.#isStale() && this.#unasked().length === 0
  }

  #isStale(): boolean {
    const { db, members } = this.#components
    return this.#isOutdated || db.meta('scanned') !== members.generation
  }

  /** What the last scan found holds no more, over a restart too. */
  #outdate(): void {
    const { db, log } = this.#components
    this.#isOutdated = true
    if (!db.isOpen) return
    try {
      db.transaction(() => {
        db.setMeta('scanned', '')
        db.setMeta('scanning', '')
      })
    } catch (error) {
      log.warn({ err: error }, 'the ledger cannot be written')
    }
  }

  /** Nodes that were away when they should have been asked; another scan begins on their return. */
  #unasked(): string[] {
    return (this.#components.db.meta('unasked') ?? '').split(' ').filter((id) => id !== '')
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log } = this.#components
    while (!signal.aborted) {
      try {
        if (this.#isDue()) await this.#scan(signal)
        else await this.#sleep()
      } catch (error) {
        if (signal.aborted) return
        log.warn({ err: error }, 'the scan for copies was interrupted and goes on')
        await sleep(this.#init.retryMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  #isDue(): boolean {
    if (this.#isStale()) return true
    const sinceMs = Date.now() - Number(this.#components.db.meta('scannedAtMs') ?? 0)
    // A clock that was set back makes it due, too.
    return Math.abs(sinceMs) > SCAN_INTERVAL_MS
  }

  async #sleep(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(resolve, SCAN_INTERVAL_MS / 24)
    })
    clearTimeout(timer)
  }

  /** One pass. Ends early, to begin anew, when copies come to belong elsewhere meanwhile. */
  async #scan(signal: AbortSignal): Promise<void> {
    const { db, store, members, queue, log } = this.#components
    const { generation } = members
    let after = this.#cursor(generation)
    this.#isOutdated = false
    const unasked = new Set<string>()
    const { blobs } = await store.usage()
    const passed = after === '' ? 0 : Number(db.meta('passed') ?? 0)
    this.#progress = { state: 'scanning', scannedBlobs: passed, totalBlobs: blobs }
    for (;;) {
      await this.#room(signal)
      const page = await this.#page(after, signal)
      for (const peerId of await this.#look(page, after, signal)) unasked.add(peerId)
      if (this.#isOutdated) return
      const last = page.at(-1)
      if (!last || page.length < this.#init.pageBlobs) break
      after = last.hash
      this.#progress.scannedBlobs += page.length
      db.transaction(() => {
        db.setMeta('cursor', after)
        db.setMeta('passed', String(this.#progress.scannedBlobs))
      })
      await sleep(this.#init.pauseMs, undefined, { signal })
    }
    db.transaction(() => {
      db.setMeta('scanned', generation)
      db.setMeta('scannedAtMs', String(Date.now()))
      db.setMeta('scanning', '')
      db.setMeta('unasked', [...unasked].join(' '))
    })
    // Who came back during the scan was not heard of by `onReturn`.
    if ([...unasked].some((peerId) => members.isLive(peerId))) this.request()
    this.#progress = { state: 'idle', scannedBlobs: blobs, totalBlobs: blobs }
    log.info({ blobs, due: queue.dueCount(SCAN_QUEUE_MAX) }, 'all copies were looked at')
  }

  /** Where an interrupted scan of the same generation stopped; otherwise the start. */
  #cursor(generation: string): string {
    const { db } = this.#components
    if (db.meta('scanning') === generation) return db.meta('cursor') ?? ''
    db.transaction(() => {
      db.setMeta('scanning', generation)
      db.setMeta('cursor', '')
    })
    return ''
  }

  async #room(signal: AbortSignal): Promise<void> {
    while (this.#components.queue.dueCount(SCAN_QUEUE_MAX) >= SCAN_QUEUE_MAX) {
      await sleep(this.#init.retryMs, undefined, { signal })
    }
  }

  async #page(after: string, signal: AbortSignal): Promise<BlobStat[]> {
    const page: BlobStat[] = []
    const range = { limit: this.#init.pageBlobs, signal, ...(after && { after }) }
    for await (const blob of this.#components.store.list(range)) page.push(blob)
    return page
  }

  /** Writes jobs for what is not as it should be. Returns the holders that could not be asked. */
  async #look(page: readonly BlobStat[], after: string, signal: AbortSignal): Promise<string[]> {
    const { members, copies, queue } = this.#components
    const holders = new Map(page.map(({ hash }) => [hash, members.holders(hash)]))
    const peers = new Set([...holders.values()].flat())
    peers.delete(members.selfId)
    const live = [...peers].filter((peerId) => members.isLive(peerId))
    const away = [...peers].filter((peerId) => !members.isLive(peerId))
    const lacking = await this.#lacking(page, holders, live, signal)
    const last = page.at(-1)
    if (last) copies.prune(after, last.hash, holders.keys())
    const isDraining = this.#components.isDraining()
    const reason = isDraining ? 'drain' : 'membership'
    for (const blob of page) {
      const missing = lacking.get(blob.hash) ?? 0
      const isOwn = holders.get(blob.hash)!.includes(members.selfId)
      if (missing === 0 && isOwn) continue
      // Nodes that collect one after the other would hand garbage back to each other for ever, as
      // a fresh copy each time. One that leaves passes it on: its grace may not be over.
      if (!isDraining && this.#components.isGarbage(blob.hash)) continue
      const short = missing === 0 ? 0 : this.#short(blob.hash)
      queue.addSoon({ ...blob, reason, missing, short })
    }
    queue.flush()
    return away
  }

  /** Copies lacking to the full number, those counted that lie where they no longer belong. */
  #short(hash: string): number {
    const { members, copies } = this.#components
    const others = copies.holders(hash).filter((peerId) => members.isLive(peerId))
    return Math.max(0, members.copiesPossible() - 1 - others.length)
  }

  /** By hash, how many of the holders among `peers` do not hold it. */
  async #lacking(
    page: readonly BlobStat[],
    holders: ReadonlyMap<string, readonly string[]>,
    peers: readonly string[],
    signal: AbortSignal,
  ): Promise<Map<string, number>> {
    const { client, copies } = this.#components
    const lacking = new Map<string, number>()
    for (const peerId of peers) {
      const asked = page.filter(({ hash }) => holders.get(hash)!.includes(peerId))
      const hashes = asked.map(({ hash }) => hash)
      const held = await client.which(peerId, hashes, signal)
      for (const blob of asked) {
        if (held.has(blob.hash)) {
          copies.held(blob.hash, peerId)
          continue
        }
        copies.lacks(blob.hash, peerId)
        lacking.set(blob.hash, (lacking.get(blob.hash) ?? 0) + 1)
      }
    }
    return lacking
  }
}
