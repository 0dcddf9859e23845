import { buffer } from 'node:stream/consumers'

import { AddressNotFoundError, InvalidRequestError } from '../../shared/errors.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { recordHash, type AddressRecord } from '../../shared/record/record.ts'
import type { Clock } from '../clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { RecordLookup } from '../records/record-lookup.ts'
import type { RecordStore } from '../records/record-store.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { OWNERSHIP_NAME, REFRESH_INTERVAL_MS, VERSIONS_KEPT_MAX } from './constants.ts'
import type { Ownership, PolicyVersion } from './ownership.ts'
import { mayWrite, parsePolicy, type Policy } from './policy.ts'

export interface OwnershipWatchComponents {
  ownership: Ownership
  mesh: Pick<Mesh, 'on'>
  lookup: Pick<RecordLookup, 'head' | 'history'>
  records: Pick<RecordStore, 'head' | 'byHash'>
  /** Where content is read from: this node's disk, then the others'. */
  blobs: Pick<BlobStore, 'get'>
  log: Logger
  clock: Clock
}

/** Keeps the policy of this node that of the cluster. */
export class OwnershipWatch implements Startable {
  readonly #components: OwnershipWatchComponents
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #awake = new AbortController()
  #turn: Promise<void> = Promise.resolve()

  constructor(components: OwnershipWatchComponents) {
    this.#components = components
    components.mesh.on('join', () => this.wake())
  }

  /** Looks now instead of at the next tick. */
  wake(): void {
    this.#awake.abort()
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    await this.#loop
  }

  /** Resolves when this node judges by the newest policy that it can find. */
  refresh(signal?: AbortSignal): Promise<void> {
    const turn = this.#turn.then(() => this.#refresh(signal))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#components
    while (!signal.aborted) {
      this.#awake = new AbortController()
      await this.refresh(signal).catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error }, 'the policy cannot be read, the last stays')
      })
      const either = AbortSignal.any([signal, this.#awake.signal])
      await clock.sleep(REFRESH_INTERVAL_MS, either).catch(() => undefined)
    }
  }

  async #refresh(signal?: AbortSignal): Promise<void> {
    const { ownership, log } = this.#components
    const head = await this.#head(signal)
    const known = ownership.versions()
    const newest = known.at(-1)?.record
    if (!head || (newest && recordHash(newest) === recordHash(head))) return
    const versions = await this.#read(this.#chain(head), known, signal)
    const stands = versions.at(-1)
    if (!stands || (newest && recordHash(stands.record) === recordHash(newest))) return
    await ownership.adopt(versions)
    const { version, author } = stands.record
    log.info({ version, author, rules: stands.policy.rules.length }, 'the policy has changed')
  }

  async #head(signal?: AbortSignal): Promise<AddressRecord | undefined> {
    const { lookup } = this.#components
    const options = { fresh: true, ...(signal && { signal }) }
    try {
      const { record } = await lookup.head(OWNERSHIP_NAME, options)
      // Brings what lies below it here, where a part of it is missing.
      const page = { before: record.version, limit: VERSIONS_KEPT_MAX }
      if (record.version > 1) await lookup.history(OWNERSHIP_NAME, page, signal)
      return record
    } catch (error) {
      if (error instanceof AddressNotFoundError) return undefined
      throw error
    }
  }

  /** From the oldest to `head`, as far back as it is needed and known. */
  #chain(head: AddressRecord): AddressRecord[] {
    const chain = [head]
    while (chain.length < VERSIONS_KEPT_MAX) {
      const { previous } = chain[0]!
      const before = previous === null ? undefined : this.#components.records.byHash(previous)
      if (!before) break
      chain.unshift(before)
    }
    return chain
  }

  /** A version by somebody who was no editor ends the chain; one that is no policy is skipped. */
  async #read(
    chain: readonly AddressRecord[],
    known: readonly PolicyVersion[],
    signal?: AbortSignal,
  ): Promise<PolicyVersion[]> {
    const { log } = this.#components
    const versions: PolicyVersion[] = []
    for (const record of chain) {
      const hash = recordHash(record)
      const { version, author } = record
      const before = versions.at(-1)
      if (before && !mayWrite(before.policy, OWNERSHIP_NAME, author)) {
        log.warn({ version, author }, 'a policy by a node that may not write it, ignored')
        break
      }
      const own = known.find((each) => recordHash(each.record) === hash)
      const policy = own?.policy ?? (await this.#content(record, signal))
      if (policy) versions.push({ record, policy })
      else log.warn({ version, author }, 'a version of the policy is no policy, ignored')
    }
    return versions
  }

  /** Undefined for what is no policy. @throws when the content cannot be had now */
  async #content({ hash }: AddressRecord, signal?: AbortSignal): Promise<Policy | undefined> {
    const { body } = await this.#components.blobs.get(hash, signal ? { signal } : {})
    try {
      return parsePolicy(await buffer(body))
    } catch (error) {
      if (error instanceof InvalidRequestError) return undefined
      throw error
    }
  }
}
