import { OverloadedError } from '../../shared/errors.ts'
import type { Clock } from '../clock.ts'
import { RESERVATION_TTL_MS, RESERVATIONS_MAX } from './constants.ts'
import type { UsageRow } from './usage-store.ts'

interface Reservation extends UsageRow {
  /** Writers of the same content share it. */
  writers: number
  expiresMs: number
}

const RETRY_SECONDS = 5

/** Bytes that were granted to a project and are not counted yet. */
export class Reservations {
  readonly #clock: Clock
  /** All last equally long from their last grant, so the first is the next to expire. */
  readonly #byKey = new Map<string, Reservation>()
  readonly #bytes = new Map<string, number>()

  constructor(components: { clock: Clock }) {
    this.#clock = components.clock
  }

  reserved(project: string): number {
    this.#expire()
    return this.#bytes.get(project) ?? 0
  }

  has(project: string, hash: string): boolean {
    return this.#byKey.has(keyOf(project, hash))
  }

  /** @throws OverloadedError when too many are outstanding */
  add(row: UsageRow): void {
    this.#expire()
    const key = keyOf(row.project, row.hash)
    const expiresMs = this.#clock.now() + RESERVATION_TTL_MS
    const known = this.#byKey.get(key)
    if (!known && this.#byKey.size >= RESERVATIONS_MAX) {
      throw new OverloadedError('Too many writes to limited projects are going on.', RETRY_SECONDS)
    }
    this.#byKey.delete(key)
    this.#byKey.set(key, { ...row, expiresMs, writers: (known?.writers ?? 0) + 1 })
    if (!known) this.#change(row.project, row.sizeBytes)
  }

  /** One of its writers gave up. */
  release(project: string, hash: string): void {
    const known = this.#byKey.get(keyOf(project, hash))
    if (!known) return
    known.writers -= 1
    if (known.writers === 0) this.drop(project, hash)
  }

  /** It is counted as usage now. */
  drop(project: string, hash: string): void {
    const key = keyOf(project, hash)
    const known = this.#byKey.get(key)
    if (!known) return
    this.#byKey.delete(key)
    this.#change(project, -known.sizeBytes)
  }

  #expire(): void {
    const nowMs = this.#clock.now()
    for (const { project, hash, expiresMs } of this.#byKey.values()) {
      if (expiresMs > nowMs) return
      this.drop(project, hash)
    }
  }

  #change(project: string, bytes: number): void {
    const left = (this.#bytes.get(project) ?? 0) + bytes
    if (left === 0) this.#bytes.delete(project)
    else this.#bytes.set(project, left)
  }
}

function keyOf(project: string, hash: string): string {
  return `${hash} ${project}`
}
