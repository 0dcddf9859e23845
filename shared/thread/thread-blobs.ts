import { createHasher, hashBytes } from '../blob/hash.ts'
import type { CallOptions, DaemonClient } from '../daemon/daemon-client.ts'
import {
  BodyTooLargeError,
  HashMismatchError,
  InvalidMessageError,
  RemoteError,
} from '../errors.ts'
import type { RecordJSON } from '../record/record.ts'
import { concurrently } from './concurrently.ts'
import {
  BLOBS_READ_AT_ONCE_MAX,
  CONTENT_BYTES_MAX,
  HEAD_BYTES_MAX,
  MESSAGE_BYTES_MAX,
} from './constants.ts'
import { decodeHead, type ThreadHead } from './head.ts'
import { decodeMessage, type ThreadMessage } from './message.ts'
import { isText, searchedText } from './searched-text.ts'
import type { IndexedMessage, ThreadVersion } from './thread-index.ts'

/** What threads ask of a daemon. */
export type ThreadDaemon = Pick<
  DaemonClient,
  | 'resolve'
  | 'history'
  | 'merge'
  | 'getBlob'
  | 'putBlob'
  | 'putBlobs'
  | 'putNamed'
  | 'putAddress'
  | 'retain'
>

export interface ReadOptions extends CallOptions {
  /** Told of blobs that are gone or not what they should be. Without it the first one is thrown. */
  onDamage?: (hash: string) => void
}

/** Reads the blobs of threads. Every byte is checked against its hash here, too. */
export class ThreadBlobs {
  readonly #daemon: Pick<ThreadDaemon, 'getBlob'>

  constructor(components: { daemon: Pick<ThreadDaemon, 'getBlob'> }) {
    this.#daemon = components.daemon
  }

  async head(hash: string, options: CallOptions): Promise<ThreadHead> {
    return decodeHead(await this.#read(hash, HEAD_BYTES_MAX, options))
  }

  async message(hash: string, options: CallOptions): Promise<ThreadMessage> {
    return decodeMessage(await this.#read(hash, MESSAGE_BYTES_MAX, options))
  }

  content(hash: string, options: CallOptions): Promise<Buffer> {
    return this.#read(hash, CONTENT_BYTES_MAX, options)
  }

  /** Reads a blob of any size and gives its size. @throws HashMismatchError */
  async checkContent(hash: string, options: CallOptions): Promise<number> {
    const { body } = await this.#daemon.getBlob(hash, options)
    const hasher = createHasher()
    let length = 0
    for await (const chunk of body) {
      hasher.update(chunk as Buffer)
      length += (chunk as Buffer).length
    }
    if (hasher.digestHex() !== hash) throw otherHash(hash)
    return length
  }

  /** A version of a head with everything that the index wants to know of it. */
  async version(record: RecordJSON, options: ReadOptions): Promise<ThreadVersion | undefined> {
    const head = await this.#sound(record.hash, options, async () =>
      belongs(record.address, await this.head(record.hash, options)),
    )
    if (!head) return undefined
    const messages = await concurrently(head.added, BLOBS_READ_AT_ONCE_MAX, (hash) =>
      this.#sound(hash, options, () => this.#indexed(record.address, hash, options)),
    )
    const { version, timestamp } = record
    const there = messages.filter((message) => message !== undefined)
    return { record: record.record, version, timestamp, head, messages: there }
  }

  async #indexed(thread: string, hash: string, options: ReadOptions): Promise<IndexedMessage> {
    const bytes = await this.#read(hash, MESSAGE_BYTES_MAX, options)
    const message = belongs(thread, decodeMessage(bytes))
    const content = await this.#searchable(message, options)
    return { hash, message, body: bytes.toString(), searched: searchedText(message, content) }
  }

  /** Long text is searched as short text is; what is too long to be read is not. */
  async #searchable(message: ThreadMessage, options: ReadOptions): Promise<Buffer | undefined> {
    const { contentHash, contentBytes = 0 } = message
    if (contentHash === undefined || contentBytes > CONTENT_BYTES_MAX) return undefined
    if (!isText(message)) return undefined
    return this.#sound(contentHash, options, () => this.content(contentHash, options))
  }

  /**
   * Undefined for a damaged blob, where the caller wants to know of it and go on; and for what
   * never was a message or a head of this thread, which is nobody's loss.
   */
  async #sound<T>(
    hash: string,
    { onDamage }: ReadOptions,
    read: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await read()
    } catch (error) {
      const isForeign = error instanceof InvalidMessageError
      if (!isForeign && (!onDamage || !isDamage(error))) throw error
      onDamage?.(hash)
      return undefined
    }
  }

  async #read(hash: string, bytesMax: number, options: CallOptions): Promise<Buffer> {
    const { body } = await this.#daemon.getBlob(hash, options)
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of body) {
      length += (chunk as Buffer).length
      if (length > bytesMax) {
        throw new BodyTooLargeError(`The blob ${hash} is larger than ${bytesMax} bytes.`)
      }
      chunks.push(chunk as Buffer)
    }
    const bytes = Buffer.concat(chunks)
    if (hashBytes(bytes) !== hash) throw otherHash(hash)
    return bytes
  }
}

/** @throws InvalidMessageError for what is of another thread */
function belongs<T extends { thread: string }>(thread: string, what: T): T {
  if (what.thread === thread) return what
  throw new InvalidMessageError(`It is of ${what.thread}.`)
}

function otherHash(hash: string): HashMismatchError {
  return new HashMismatchError(`What was read as ${hash} has another hash.`)
}

/** A blob that is gone or is not what it should be, as opposed to a daemon that does not answer. */
export function isDamage(error: unknown): boolean {
  const codes = [
    'BZZZ_BLOB_NOT_FOUND',
    'BZZZ_BLOB_CORRUPT',
    'BZZZ_HASH_MISMATCH',
    'BZZZ_MESSAGE_INVALID',
    'BZZZ_BODY_TOO_LARGE',
  ]
  if (!(error instanceof Error) || !('code' in error)) return false
  return codes.includes(error instanceof RemoteError ? error.code : String(error.code))
}
