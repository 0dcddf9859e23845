import type { KeyObject } from 'node:crypto'

import {
  AddressNotFoundError,
  AuthorNotAllowedError,
  InvalidRequestError,
  NotForkedError,
  PeerUnreachableError,
  QuorumNotReachedError,
  VersionConflictError,
} from '../../shared/errors.ts'
import {
  encodeRecord,
  MERGED_MAX,
  recordHash,
  signRecord,
  toRecordJSON,
  type AddressRecord,
} from '../../shared/record/record.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { KeyedLock } from './keyed-lock.ts'
import type { RecordCoordinator } from './record-coordinator.ts'
import type { RecordPeers } from './record-peers.ts'
import { recordFromText, recordToText, type RecordAnswer } from './record-protocol.ts'
import type { RecordStore } from './record-store.ts'
import type { RecordLookup } from './record-lookup.ts'
import { COMMIT_TIMEOUT_MS, WRITE_ATTEMPTS_MAX } from './constants.ts'

export interface Content {
  hash: string
  sizeBytes: number
  mediaType: string
}

/** A content that may still be on its way to the disks of its holders. */
export interface WrittenContent extends Content {
  /** Rejects when it cannot be; absent: it is there. Its rejection is the caller's to handle. */
  stored?: Promise<unknown>
}

/** What the caller believes stands. Absent: write whatever stands. */
export interface WriteCondition {
  /** Hash of the content the caller last saw. */
  ifHash?: string
  /** Version the caller last saw; 0: the address must not exist yet. */
  ifVersion?: number
}

export interface WriteResult {
  record: AddressRecord
  /** False when the address had this very content already. */
  created: boolean
  /** Peer ids of the nodes that hold the record durably. */
  holders: readonly string[]
}

export interface RecordServiceComponents {
  store: RecordStore
  blobs: Pick<BlobStore, 'put'>
  peers: RecordPeers
  lookup: RecordLookup
  coordinator: RecordCoordinator
  ownership: Pick<Ownership, 'allows'>
  clock?: Pick<Clock, 'now'>
}

/**
 * Writes to addresses. The node that takes the write signs the next version; the address's
 * coordinator (the first of its rank that is here) decides whether it follows the head, so that
 * two writers are ordered without a fork. A coordinator that dies hands over to the next of the
 * rank, which first asks the others what stands. Only a partition can make a fork.
 */
export class RecordService {
  readonly #components: RecordServiceComponents
  readonly #author: string
  readonly #privateKey: KeyObject
  readonly #clock: Pick<Clock, 'now'>
  readonly #turns = new KeyedLock()

  constructor(
    components: RecordServiceComponents,
    init: { author: string; privateKey: KeyObject },
  ) {
    this.#components = components
    this.#clock = components.clock ?? SYSTEM_CLOCK
    this.#author = init.author
    this.#privateKey = init.privateKey
  }

  /**
   * Writers of one address on this node take turns, so that what races for the next version is
   * nodes, not callers.
   * @throws VersionConflictError, QuorumNotReachedError
   * @throws PartitionMinorityError before anything is stored: both sides of a partition that went
   * on to write would fork every address they share
   */
  write(
    name: string,
    content: WrittenContent,
    condition: WriteCondition = {},
    signal?: AbortSignal,
  ): Promise<WriteResult> {
    return this.#turns.run(name, () => this.#write(name, content, condition, signal))
  }

  async #write(
    name: string,
    { stored, ...content }: WrittenContent,
    condition: WriteCondition,
    signal?: AbortSignal,
  ): Promise<WriteResult> {
    const { lookup, peers, store } = this.#components
    peers.requireMajority()
    this.#requireOwner(name)
    // Where the copy here is what the caller has seen, the coordinator's own question suffices:
    // one attempt, and its word. All else is judged on what the holders say now: a refusal, a
    // content that stands already, and a writer who takes whatever stands and races with others.
    let head = store.head(name)
    const isSeen = hasCondition(condition) && meets(head, condition)
    if (!head || !isSeen || sameContent(head, content)) {
      head = await lookup.freshHead(name, signal)
    }
    for (let attempt = 0; attempt < WRITE_ATTEMPTS_MAX; attempt += 1) {
      signal?.throwIfAborted()
      checkCondition(head, condition)
      if (head && sameContent(head, content)) return this.#confirm(head, stored, signal)
      const record = this.#next(name, content, head)
      const answer = await this.#commit(record, stored, signal)
      if (answer.outcome === 'ok') {
        return { record, created: true, holders: answer.holders ?? [] }
      }
      if (answer.outcome === 'quorum') throw quorumError(name)
      head = this.#adopt(answer) ?? (await lookup.freshHead(name, signal))
    }
    throw conflict(head)
  }

  /**
   * Settles a fork: a new version on top of the head with the content of the end that `pick`
   * names. The other ends stay in the history and are no longer reported. Ends that somebody makes
   * meanwhile are not settled by it.
   * @throws NotForkedError, VersionConflictError, InvalidRequestError, QuorumNotReachedError,
   *   PartitionMinorityError
   */
  merge(
    name: string,
    pick: string,
    condition: WriteCondition = {},
    signal?: AbortSignal,
  ): Promise<WriteResult> {
    return this.#turns.run(name, async () => {
      const { lookup, peers } = this.#components
      peers.requireMajority()
      this.#requireOwner(name)
      const head = await lookup.freshHead(name, signal)
      if (!head) throw new AddressNotFoundError(`Nothing is stored under ${name}.`)
      checkCondition(head, condition)
      const ends = await lookup.ends(name, signal)
      const { hash, sizeBytes, mediaType } = pickEnd(ends, pick)
      const others = ends.map(recordHash).filter((end) => end !== recordHash(head))
      const merged = others.slice(0, MERGED_MAX)
      const record = this.#next(name, { hash, sizeBytes, mediaType, merged }, head)
      const answer = await this.#commit(record, undefined, signal)
      if (answer.outcome === 'ok') {
        return { record, created: true, holders: answer.holders ?? [] }
      }
      if (answer.outcome === 'quorum') throw quorumError(name)
      // Whoever wrote meanwhile has not been seen by whoever picked.
      throw conflict(this.#adopt(answer) ?? head)
    })
  }

  /** The coordinator would refuse it as well; here nothing has been stored yet. */
  #requireOwner(name: string): void {
    if (this.#components.ownership.allows(name, this.#author)) return
    throw new AuthorNotAllowedError(
      `The policy of the cluster gives ${name} to other nodes than this one.`,
    )
  }

  #next(
    name: string,
    { merged, ...content }: Content & { merged?: string[] },
    head: AddressRecord | undefined,
  ): AddressRecord {
    return signRecord(
      {
        address: name,
        version: (head?.version ?? 0) + 1,
        ...content,
        previous: head ? recordHash(head) : null,
        ...(merged && { merged }),
        author: this.#author,
        // Time never runs backwards along a chain, whatever the clocks of its authors do.
        timestampMs: Math.max(this.#clock.now(), head?.timestampMs ?? 0),
      },
      this.#privateKey,
    )
  }

  /** The content stands already; what is owed is the certainty that a quorum holds the record. */
  async #confirm(
    head: AddressRecord,
    stored: Promise<unknown> | undefined,
    signal?: AbortSignal,
  ): Promise<WriteResult> {
    const { coordinator } = this.#components
    await stored
    const { holders, quorum } = await coordinator.spread(head, signal)
    if (!quorum) throw quorumError(head.address)
    return { record: head, created: false, holders }
  }

  /**
   * The record goes to the disk beside the content that it names, and to the coordinator when both
   * are there. Without its content it is a blob like that of a writer who lost: nobody knows it.
   */
  async #commit(
    record: AddressRecord,
    stored: Promise<unknown> | undefined,
    signal?: AbortSignal,
  ): Promise<RecordAnswer> {
    const { peers, coordinator, blobs } = this.#components
    await Promise.all([blobs.put(encodeRecord(record)), stored])
    for (const coordinatorId of peers.coordinators(record.address)) {
      if (coordinatorId === this.#author) break
      try {
        return await peers.ask(
          coordinatorId,
          { op: 'commit', record: recordToText(record) },
          { timeoutMs: COMMIT_TIMEOUT_MS, ...(signal && { signal }) },
        )
      } catch (error) {
        // The connection died under the question: the next of the rank decides.
        if (!(error instanceof PeerUnreachableError)) throw error
        signal?.throwIfAborted()
      }
    }
    return coordinator.commit(record, this.#author, signal)
  }

  #adopt(answer: RecordAnswer): AddressRecord | undefined {
    const [text] = answer.records ?? []
    if (text === undefined) return undefined
    const record = recordFromText(text)
    const { store, ownership } = this.#components
    // The others are asked about a record that the coordinator alone vouches for.
    if (!ownership.allows(record.address, record.author)) return undefined
    store.add(record)
    return record
  }
}

function sameContent(head: AddressRecord, content: Content): boolean {
  return head.hash === content.hash && head.mediaType === content.mediaType
}

/** The end that is meant by a version, or by the beginning of its own or its content's hash. */
function pickEnd(ends: readonly AddressRecord[], pick: string): AddressRecord {
  const [head] = ends
  if (head === undefined || ends.length < 2) {
    throw new NotForkedError('The address has no fork: one version follows the other.')
  }
  const isVersion = /^[1-9]\d{0,8}$/.test(pick)
  const text = pick.toLowerCase()
  if (!isVersion && !/^[0-9a-f]{8,64}$/.test(text)) {
    throw new InvalidRequestError('A pick is a version, or 8 or more digits of a hash.')
  }
  const [found, second] = ends.filter((end) =>
    isVersion
      ? end.version === Number(pick)
      : recordHash(end).startsWith(text) || end.hash.startsWith(text),
  )
  const choices = ends.map((end) => `${recordHash(end).slice(0, 12)} (version ${end.version})`)
  const problem = found ? 'names several ends' : 'names none of the ends'
  if (found && second === undefined) return found
  throw new InvalidRequestError(`The pick ${problem}; they are ${choices.join(', ')}.`)
}

function checkCondition(head: AddressRecord | undefined, condition: WriteCondition): void {
  if (!meets(head, condition)) throw conflict(head)
}

function hasCondition({ ifHash, ifVersion }: WriteCondition): boolean {
  return ifHash !== undefined || ifVersion !== undefined
}

function meets(head: AddressRecord | undefined, { ifHash, ifVersion }: WriteCondition): boolean {
  if (ifHash !== undefined && head?.hash !== ifHash) return false
  return ifVersion === undefined || (head?.version ?? 0) === ifVersion
}

function conflict(head: AddressRecord | undefined): VersionConflictError {
  const message = head
    ? `The address stands at version ${head.version} now.`
    : 'The address does not exist.'
  return new VersionConflictError(message, head ? toRecordJSON(head) : null)
}

function quorumError(name: string): QuorumNotReachedError {
  return new QuorumNotReachedError(
    `Too few nodes acknowledged the record of ${name}; the write may be repeated.`,
  )
}
