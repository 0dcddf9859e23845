import { readFile } from 'node:fs/promises'

import type { JSONWebKeySet } from 'jose'
import { z } from 'zod'

import { REVOCATIONS_MAX, verifyRevocation, type Revocation } from '../../shared/auth/revocation.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { InvalidConfigError, InvalidRequestError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Clock } from '../clock.ts'

const fileSchema = z.object({ statements: z.array(z.string()).max(REVOCATIONS_MAX) })

interface Kept extends Revocation {
  statement: string
}

export interface RevocationStoreComponents {
  readKeys: () => Promise<JSONWebKeySet>
  clock: Clock
  log: Logger
}

/**
 * The revocations this node knows, in `<dataDir>/config/revocations.json`: signed statements, so
 * that a node without a database knows them too, also after a restart with nobody to ask. Only ever
 * added to; each goes when its token is over by itself. After a crash the file holds the old or the
 * new list; what was acknowledged is in it.
 */
export class RevocationStore {
  readonly #components: RevocationStoreComponents
  readonly #path: string
  readonly #kept = new Map<string, Kept>()
  #writing: Promise<void> = Promise.resolve()
  #etag: string | undefined

  constructor(components: RevocationStoreComponents, init: { path: string }) {
    this.#components = components
    this.#path = init.path
  }

  /** @throws InvalidConfigError when the file is there but cannot be understood */
  async load(): Promise<void> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    let statements: readonly string[]
    try {
      ;({ statements } = fileSchema.parse(JSON.parse(text)))
    } catch (error) {
      // Starting without it would let revoked tokens in again.
      throw new InvalidConfigError(`${this.#path} cannot be understood.`, { cause: error })
    }
    await this.#learn(statements)
  }

  isRevoked(tokenId: string): boolean {
    return (this.#kept.get(tokenId)?.expiresMs ?? 0) > this.#components.clock.now()
  }

  /** Of revocations that are not over, in the order of the tokens' ids. */
  statements(): readonly string[] {
    this.#purge()
    return this.#inOrder().map(({ statement }) => statement)
  }

  /** Those behind `after`, and where to go on. */
  page(after: string, limit: number): { statements: string[]; next: string | null } {
    const behind = this.#inOrder().filter(({ tokenId }) => tokenId > after)
    const page = behind.slice(0, limit)
    const next = behind.length > limit ? page.at(-1)!.tokenId : null
    return { statements: page.map(({ statement }) => statement), next }
  }

  /** Changes with the list. */
  etag(): string {
    this.#purge()
    this.#etag ??= `"${hashBytes(Buffer.from([...this.#kept.keys()].toSorted().join()))}"`
    return this.#etag
  }

  /**
   * Keeps what is new, durably. Resolves with the new statements.
   * @throws InvalidRequestError when none of several holds, or when the list is full
   */
  async add(statements: readonly string[]): Promise<readonly string[]> {
    const fresh = await this.#learn(statements)
    if (fresh.length === 0) return fresh
    const text = () => `${JSON.stringify({ statements: this.statements() }, null, 2)}\n`
    const writing = this.#writing.then(() => replaceFile(this.#path, text(), 0o600))
    this.#writing = writing.catch(() => undefined)
    await writing
    return fresh
  }

  async #learn(statements: readonly string[]): Promise<string[]> {
    const { readKeys, log, clock } = this.#components
    if (statements.length === 0) return []
    const keys = await readKeys()
    const fresh: string[] = []
    let failure: unknown
    for (const statement of statements) {
      try {
        const revocation = await verifyRevocation(keys, statement)
        const { tokenId, expiresMs } = revocation
        if ((this.#kept.get(tokenId)?.expiresMs ?? clock.now()) >= expiresMs) continue
        this.#assertRoom(tokenId)
        this.#kept.set(tokenId, { ...revocation, statement })
        this.#etag = undefined
        fresh.push(statement)
      } catch (error) {
        // Of a key that is gone, or a forgery: the others count all the same.
        failure = error
        log.debug({ err: error }, 'a revocation is left out')
      }
    }
    if (failure !== undefined && statements.length === 1) throw failure
    return fresh
  }

  #assertRoom(tokenId: string): void {
    this.#purge()
    if (this.#kept.has(tokenId) || this.#kept.size < REVOCATIONS_MAX) return
    throw new InvalidRequestError(
      `${REVOCATIONS_MAX} tokens are revoked already: rotate the key instead.`,
    )
  }

  #inOrder(): Kept[] {
    return [...this.#kept.values()].toSorted((a, b) => (a.tokenId < b.tokenId ? -1 : 1))
  }

  #purge(): void {
    const now = this.#components.clock.now()
    for (const [tokenId, { expiresMs }] of this.#kept) {
      if (expiresMs > now) continue
      this.#kept.delete(tokenId)
      this.#etag = undefined
    }
  }
}
