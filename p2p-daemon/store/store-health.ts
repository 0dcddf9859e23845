import { StorageUnavailableError } from '../../shared/errors.ts'
import { errorCode, isDiskError } from './disk-files.ts'
import type { StoreLog } from './store-log.ts'

export interface StoreHealth {
  writable: boolean
  /** Why not, as one sentence; null while writable. */
  reason: string | null
  /** When it became so, in Unix milliseconds. */
  sinceMs: number
}

/**
 * Whether the disk takes writes. The first write that fails turns the store read-only; a probe
 * that repeats until it succeeds turns it back. Reads never ask.
 */
export class WriteGate {
  readonly #log: StoreLog
  readonly #probeIntervalMs: number
  #health: StoreHealth = { writable: true, reason: null, sinceMs: Date.now() }
  #probe: (() => Promise<void>) | undefined
  #timer: NodeJS.Timeout | undefined
  #probing: Promise<void> | undefined

  constructor(components: { log: StoreLog }, init: { probeIntervalMs: number }) {
    this.#log = components.log
    this.#probeIntervalMs = init.probeIntervalMs
  }

  health(): StoreHealth {
    return { ...this.#health }
  }

  /** `probe` writes what a put would write and throws when the disk refuses. */
  start(probe: () => Promise<void>): void {
    this.#probe = probe
    if (!this.#health.writable) this.#arm()
  }

  async stop(): Promise<void> {
    this.#probe = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#probing
  }

  /** @throws StorageUnavailableError while read-only */
  assertWritable(): void {
    if (this.#health.writable) return
    throw new StorageUnavailableError(`The store takes no writes: ${this.#health.reason}.`)
  }

  /**
   * Turns the store read-only when the disk refused, and gives the error for the caller of the
   * write that failed. A fault of the program passes as it is.
   */
  refuse(cause: unknown): Error {
    const wrapped = cause instanceof StorageUnavailableError
    const reason = refusalText(wrapped ? cause.cause : cause)
    if (reason === undefined) return cause instanceof Error ? cause : new Error(String(cause))
    if (this.#health.writable) {
      this.#health = { writable: false, reason, sinceMs: Date.now() }
      this.#log.error({ err: cause, reason }, 'the blob store turned read-only')
    }
    this.#arm()
    if (wrapped) return cause
    return new StorageUnavailableError(`The disk refused a write: ${reason}.`, { cause })
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#probing !== undefined || this.#probe === undefined)
      return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#probing = this.#tryAgain().finally(() => {
        this.#probing = undefined
        if (!this.#health.writable) this.#arm()
      })
    }, this.#probeIntervalMs)
    this.#timer.unref()
  }

  async #tryAgain(): Promise<void> {
    try {
      await this.#probe?.()
      this.#health = { writable: true, reason: null, sinceMs: Date.now() }
      this.#log.info({}, 'the blob store takes writes again')
    } catch (error) {
      const reason = refusalText(error) ?? String(error)
      this.#health = { ...this.#health, reason }
    }
  }
}

const FAILURES: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EIO: 'the disk reports an input/output error',
  EROFS: 'the file system is read-only',
  CORRUPT: 'the blob index is damaged, the next start builds it anew',
}

/** Primary result codes of SQLite that say what the file system said. */
const SQLITE_CODES: Record<number, string> = { 8: 'EROFS', 10: 'EIO', 11: 'CORRUPT', 13: 'ENOSPC' }

/** What the disk said, in words; undefined when it was not the disk that failed. */
export function refusalText(error: unknown): string | undefined {
  if (!isDiskError(error) && errorCode(error) !== 'ERR_SQLITE_ERROR') return undefined
  const code = sqliteCode(error) ?? errorCode(error) ?? ''
  return FAILURES[code] ?? `the file system answered ${code}`
}

/** The index may notice first that the disk is full; its extended codes keep the primary below. */
function sqliteCode(error: unknown): string | undefined {
  if (errorCode(error) !== 'ERR_SQLITE_ERROR') return undefined
  const { errcode } = error as { errcode?: number }
  return SQLITE_CODES[(errcode ?? 0) & 0xff]
}
