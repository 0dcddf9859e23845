import type { OnReadOpts } from 'node:net'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'

import {
  OverloadedError,
  PeerUnreachableError,
  ProtocolViolationError,
} from '../../shared/errors.ts'
import { KiB } from '../../shared/limits.ts'
import {
  encodeFrame,
  FrameDecoder,
  REQUEST_ID_MAX,
  type BulkMessage,
  type FrameHandler,
} from './bulk-frame.ts'
import { proveIdentity, type BulkTLSOptions } from './bulk-identity.ts'
import { BULK_RANGE_STALLS_MAX, BULK_RANGES_PER_CONNECTION_MAX } from './constants.ts'
import { writeSoon } from './coalesced-write.ts'
import { PendingRange } from './pending-range.ts'
import { fromErrorMessage } from './range-error.ts'

/** What TLS hands over at a time is at most one record of 16 KiB. */
const READ_BUFFER_BYTES = 64 * KiB

/** How often within a stall or keep-alive time the connection is looked at. */
const CHECKS_PER_TIMEOUT = 4

export interface BulkConnectionInit {
  host: string
  port: number
  peerId: string
  tls: BulkTLSOptions
  connectTimeoutMs: number
  stallTimeoutMs: number
  keepAliveMs: number
  /** Memory for what arrives. */
  allocate: (length: number) => Uint8Array
  /** Called once, also when the connection was closed from here. */
  onClose: (reason: Error) => void
}

/**
 * The receiving side of a bulk connection: asks one peer for ranges, any number of them at a time
 * up to a limit. What arrives was asked for and has its place in memory already, so reading never
 * has to pause and no range waits for another one's reader.
 */
export class BulkConnection implements FrameHandler {
  readonly peerId: string
  readonly #init: BulkConnectionInit
  readonly #socket: TLSSocket
  readonly #pending = new Map<number, PendingRange>()
  readonly #opened = Promise.withResolvers<void>()
  readonly #timer: NodeJS.Timeout
  #nextId = 1
  #heard = false
  #silentChecks = 0
  #pinged = false
  #verified = false
  #leaving = false
  #closed: Error | undefined

  /** @throws PeerUnreachableError when nobody, or somebody else, is there */
  static async open(init: BulkConnectionInit): Promise<BulkConnection> {
    const connection = new BulkConnection(init)
    await connection.#open()
    return connection
  }

  private constructor(init: BulkConnectionInit) {
    this.peerId = init.peerId
    this.#init = init
    const decoder = new FrameDecoder(this)
    // Into one buffer of ours, which costs a third less than the events of a stream. The types of
    // Node leave the option out, its documentation does not.
    const options: ConnectionOptions & { onread: OnReadOpts } = {
      ...init.tls,
      host: init.host,
      port: init.port,
      onread: {
        buffer: new Uint8Array(READ_BUFFER_BYTES),
        callback: (length, buffer) => this.#onBytes(decoder, buffer.subarray(0, length)),
      },
    }
    const socket = connect(options)
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', (error) => {
      this.close(new PeerUnreachableError('The connection to the peer failed.', { cause: error }))
    })
    socket.on('close', () => this.close(new PeerUnreachableError('The peer went away.')))
    const interval = Math.min(init.stallTimeoutMs, init.keepAliveMs) / CHECKS_PER_TIMEOUT
    this.#timer = setInterval(() => this.#check(interval), interval)
    this.#timer.unref()
  }

  /** False once it is closed or the peer has taken leave: what is new belongs on another one. */
  get usable(): boolean {
    return !this.#closed && !this.#leaving
  }

  /**
   * Asks for a range. It must be ended, by its answer or by `cancel`, for its memory to be free.
   * @throws OverloadedError, PeerUnreachableError
   */
  ask(hash: string, start: number, length: number): PendingRange {
    if (this.#closed) throw this.#closed
    if (this.#leaving) throw new PeerUnreachableError('The peer is stopping.')
    if (this.#pending.size >= BULK_RANGES_PER_CONNECTION_MAX) {
      throw new OverloadedError('Too many ranges are asked for on this connection.', 1)
    }
    const id = this.#takeId()
    const sendCancel = (): void => {
      if (this.#pending.has(id)) this.#socket.write(encodeFrame(id, { type: 'cancel' }))
    }
    const range = new PendingRange({ allocate: this.#init.allocate, sendCancel }, { start, length })
    if (this.#pending.size === 0) this.#silentChecks = 0
    this.#pending.set(id, range)
    writeSoon(this.#socket, encodeFrame(id, { type: 'range', hash, start, length }))
    return range
  }

  close(reason: Error): void {
    if (this.#closed) return
    this.#closed = reason
    clearInterval(this.#timer)
    this.#socket.destroy()
    this.#opened.reject(reason)
    for (const range of this.#pending.values()) range.fail(reason)
    this.#pending.clear()
    this.#init.onClose(reason)
  }

  onMessage(id: number, message: BulkMessage): void {
    switch (message.type) {
      case 'head':
        if (this.#rangeOf(id).onHead(message)) this.#pending.delete(id)
        break
      case 'error':
        this.#rangeOf(id).fail(fromErrorMessage(message))
        this.#pending.delete(id)
        break
      case 'cancelled':
        this.#rangeOf(id).onCancelled()
        this.#pending.delete(id)
        break
      case 'pong':
        if (!this.#pinged) throw new ProtocolViolationError('The peer answered what nobody asked.')
        this.#pinged = false
        this.#opened.resolve()
        break
      case 'goodbye':
        this.#leaving = true
        break
      case 'range':
      case 'cancel':
      case 'ping':
        throw new ProtocolViolationError(`The peer sent ${message.type} to somebody who asks.`)
    }
  }

  onData(id: number, bytes: Uint8Array): void {
    if (this.#rangeOf(id).onData(bytes)) this.#pending.delete(id)
  }

  /** Done when the peer has answered: only then has it accepted this side too. */
  async #open(): Promise<void> {
    const { peerId, connectTimeoutMs } = this.#init
    const timer = setTimeout(
      () => this.close(new PeerUnreachableError('The peer did not answer in time.')),
      connectTimeoutMs,
    )
    const onSecure = async (): Promise<void> => {
      await proveIdentity(this.#socket, peerId)
      if (this.#closed) return
      this.#verified = true
      this.#pinged = true
      this.#socket.write(encodeFrame(0, { type: 'ping' }))
    }
    this.#socket.once('secureConnect', () => {
      onSecure().catch((error: Error) => this.close(error))
    })
    try {
      await this.#opened.promise
    } finally {
      clearTimeout(timer)
    }
  }

  #onBytes(decoder: FrameDecoder, bytes: Uint8Array): boolean {
    if (this.#closed) return false
    this.#heard = true
    try {
      // A peer speaks when it is asked, and nobody is before it was identified.
      if (!this.#verified) throw new ProtocolViolationError('The peer spoke before it was asked.')
      decoder.push(bytes)
      return true
    } catch (error) {
      this.close(error as Error)
      return false
    }
  }

  #rangeOf(id: number): PendingRange {
    const range = this.#pending.get(id)
    if (!range) throw new ProtocolViolationError('The peer answered what nobody asked.')
    return range
  }

  #takeId(): number {
    do this.#nextId = this.#nextId >= REQUEST_ID_MAX ? 1 : this.#nextId + 1
    while (this.#pending.has(this.#nextId))
    return this.#nextId
  }

  /**
   * Counts looks at a silent connection instead of reading the clock: after this process itself
   * stood still, there is one look and not a time that has run out.
   */
  #check(intervalMs: number): void {
    if (!this.#verified) return
    this.#silentChecks = this.#heard ? 0 : this.#silentChecks + 1
    this.#heard = false
    const silentMs = this.#silentChecks * intervalMs
    const { stallTimeoutMs, keepAliveMs } = this.#init
    if (this.#pending.size > 0 || this.#pinged) {
      if (silentMs >= stallTimeoutMs) {
        this.close(new PeerUnreachableError('The peer stopped sending.'))
        return
      }
    } else if (silentMs >= keepAliveMs) {
      this.#silentChecks = 0
      this.#pinged = true
      this.#socket.write(encodeFrame(0, { type: 'ping' }))
    }
    const checksMax = (BULK_RANGE_STALLS_MAX * stallTimeoutMs) / intervalMs
    for (const range of this.#pending.values()) {
      if (range.check(checksMax)) continue
      this.close(new PeerUnreachableError('The peer does not end what was cancelled.'))
      return
    }
  }
}
