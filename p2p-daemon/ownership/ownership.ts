import { readFile } from 'node:fs/promises'

import { z } from 'zod'

import { InvalidConfigError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'
import {
  decodeRecord,
  encodeRecord,
  verifyRecord,
  type AddressRecord,
} from '../../shared/record/record.ts'
import { VERSIONS_KEPT_MAX } from './constants.ts'
import { encodePolicy, mayWrite, parsePolicy, type Policy } from './policy.ts'

/** One version of the policy, as its record signed it. */
export interface PolicyVersion {
  record: AddressRecord
  policy: Policy
}

const fileSchema = z.object({
  versions: z.array(z.object({ record: z.string(), policy: z.unknown() })).max(VERSIONS_KEPT_MAX),
})

/**
 * Which records this node takes. Without a policy every member may write everywhere. A new record
 * is judged by the policy that stands; one that is older than the policy by that of its own time,
 * so that history stays valid. Its time is its author's word, so an author who may no longer write
 * is not believed about old records of its own: somebody else has to have kept them.
 *
 * The versions lie in `config/ownership.json`, so that a node that starts alone knows them.
 */
export class Ownership {
  readonly #path: string
  /** Oldest first. */
  #versions: readonly PolicyVersion[]

  private constructor(path: string, versions: readonly PolicyVersion[]) {
    this.#path = path
    this.#versions = versions
  }

  /** @throws InvalidConfigError when the file is there but cannot be understood */
  static async load(path: string): Promise<Ownership> {
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return new Ownership(path, [])
    }
    try {
      return new Ownership(path, parseFile(text))
    } catch (error) {
      throw new InvalidConfigError(`${path} cannot be understood.`, { cause: error })
    }
  }

  /** The policy that stands. */
  current(): PolicyVersion | undefined {
    return this.#versions.at(-1)
  }

  versions(): readonly PolicyVersion[] {
    return this.#versions
  }

  /** Whether the author may write the address now. */
  allows(name: string, author: string): boolean {
    const current = this.current()
    return current === undefined || mayWrite(current.policy, name, author)
  }

  /** Whether a record may be taken that `from` brought; undefined: nobody vouches for it. */
  accepts(record: AddressRecord, from: string | undefined): boolean {
    if (this.allows(record.address, record.author)) return true
    return from !== undefined && from !== record.author && this.allowedThen(record)
  }

  /** Whether a record that is somewhere already may be there. */
  mayStand(record: AddressRecord): boolean {
    return this.allows(record.address, record.author) || this.allowedThen(record)
  }

  /** Takes over what a node found to be the versions; the file is written first. */
  async adopt(versions: readonly PolicyVersion[]): Promise<void> {
    const kept = versions.slice(-VERSIONS_KEPT_MAX)
    const rows = kept.map(({ record, policy }) => ({
      record: encodeRecord(record).toString(),
      policy,
    }))
    await replaceFile(this.#path, `${JSON.stringify({ versions: rows }, null, 2)}\n`, 0o600)
    this.#versions = kept
  }

  allowedThen({ address, author, timestampMs }: AddressRecord): boolean {
    const then = this.#versions.findLast(({ record }) => record.timestampMs <= timestampMs)
    return then === undefined || mayWrite(then.policy, address, author)
  }
}

function parseFile(text: string): PolicyVersion[] {
  return fileSchema.parse(JSON.parse(text)).versions.map(({ record: written, policy }) => {
    const record = decodeRecord(Buffer.from(written))
    verifyRecord(record)
    return { record, policy: parsePolicy(encodePolicy(policy as Policy)) }
  })
}
