import { OverloadedError, PeerUnreachableError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import { hostOf } from '../mesh/addresses.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { BulkConnection, type BulkConnectionInit } from './bulk-connection.ts'
import type { BulkTLSOptions } from './bulk-identity.ts'
import type { AheadBudget } from './bulk-pull.ts'
import type { BufferPool } from '../store/buffer-pool.ts'
import { BULK_IDLE_TIMEOUT_MS, BULK_RANGES_AHEAD_MAX, FETCHES_PER_PEER_MAX } from './constants.ts'
import type { TransferMetrics } from './transfer-metrics.ts'

export interface BulkPoolComponents {
  log: Logger
  mesh: Pick<Mesh, 'peer'>
  tls: () => Promise<BulkTLSOptions>
  buffers: BufferPool
  metrics: TransferMetrics
}

export type BulkPoolInit = Pick<
  BulkConnectionInit,
  'connectTimeoutMs' | 'stallTimeoutMs' | 'keepAliveMs'
>

/** A place on a connection for one fetch. */
export interface Lease {
  connection: BulkConnection
  ahead: AheadBudget
  /** True when the connection was there before: it may be dead without anybody knowing yet. */
  reused: boolean
  release(): void
}

interface Entry {
  connecting: Promise<BulkConnection>
  connection: BulkConnection | undefined
  fetches: number
  ahead: AheadRanges
  idleTimer: NodeJS.Timeout | undefined
}

/** One connection to every peer that blobs are fetched from, opened when it is first needed. */
export class BulkPool {
  readonly #components: BulkPoolComponents
  readonly #init: BulkPoolInit
  readonly #entries = new Map<string, Entry>()

  constructor(components: BulkPoolComponents, init: BulkPoolInit) {
    this.#components = components
    this.#init = init
  }

  /** @throws PeerUnreachableError, OverloadedError */
  async lease(peerId: string): Promise<Lease> {
    const present = this.#entryOf(peerId)
    const entry = present ?? this.#connect(peerId)
    if (entry.fetches >= FETCHES_PER_PEER_MAX) {
      throw new OverloadedError('Too many blobs are being fetched from this peer.', 1)
    }
    const reused = entry.connection !== undefined
    entry.fetches += 1
    clearTimeout(entry.idleTimer)
    let released = false
    const release = (): void => {
      if (released) return
      released = true
      entry.fetches -= 1
      if (entry.fetches === 0) this.#rest(entry)
    }
    try {
      const connection = entry.connection ?? (await entry.connecting)
      return { connection, ahead: entry.ahead, reused, release }
    } catch (error) {
      release()
      throw error
    }
  }

  /** Closes the connections to all peers but those that `isKept` names. */
  closeAll(reason: Error, isKept: (peerId: string) => boolean = () => false): void {
    for (const [peerId, entry] of this.#entries) {
      if (isKept(peerId)) continue
      this.#entries.delete(peerId)
      clearTimeout(entry.idleTimer)
      entry.connecting.then((connection) => connection.close(reason)).catch(() => undefined)
    }
  }

  /** A connection whose peer has taken leave is left to those who use it. */
  #entryOf(peerId: string): Entry | undefined {
    const entry = this.#entries.get(peerId)
    if (!entry?.connection || entry.connection.usable) return entry
    this.#entries.delete(peerId)
    return undefined
  }

  #connect(peerId: string): Entry {
    const connecting = this.#open(peerId, () => {
      if (this.#entries.get(peerId) === entry) this.#entries.delete(peerId)
      clearTimeout(entry.idleTimer)
    })
    const entry: Entry = {
      connecting,
      connection: undefined,
      fetches: 0,
      ahead: new AheadRanges(),
      idleTimer: undefined,
    }
    this.#entries.set(peerId, entry)
    connecting
      .then((connection) => (entry.connection = connection))
      .catch(() => {
        if (this.#entries.get(peerId) === entry) this.#entries.delete(peerId)
      })
    return entry
  }

  async #open(peerId: string, onGone: () => void): Promise<BulkConnection> {
    const { log, mesh, tls, buffers, metrics } = this.#components
    const peer = mesh.peer(peerId)
    if (!peer) throw new PeerUnreachableError('There is no connection to the peer.')
    const host = hostOf(peer.remoteAddress)
    if (peer.bulkPort === null || host === undefined) {
      throw new PeerUnreachableError('The peer has no bulk port that can be dialled.')
    }
    let opened = false
    const connection = await BulkConnection.open({
      ...this.#init,
      host,
      port: peer.bulkPort,
      peerId,
      tls: await tls(),
      allocate: (length) => buffers.take(length),
      onClose: (reason) => {
        onGone()
        if (!opened) return
        metrics.connections.dec({ direction: 'outbound' })
        log.debug({ err: reason, peerId }, 'bulk connection closed')
      },
    })
    opened = true
    metrics.connections.inc({ direction: 'outbound' })
    log.debug({ peerId, host, port: peer.bulkPort }, 'bulk connection opened')
    return connection
  }

  #rest(entry: Entry): void {
    entry.idleTimer = setTimeout(() => {
      entry.connection?.close(new PeerUnreachableError('The connection was not used.'))
    }, BULK_IDLE_TIMEOUT_MS)
    entry.idleTimer.unref()
  }
}

class AheadRanges implements AheadBudget {
  #taken = 0

  take(): boolean {
    if (this.#taken >= BULK_RANGES_AHEAD_MAX) return false
    this.#taken += 1
    return true
  }

  giveBack(): void {
    this.#taken -= 1
  }
}
