import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { z } from 'zod'

import type { Logger } from '../../shared/log/log.ts'
import { parseTCPAddress, withoutPeerId } from './addresses.ts'
import { ADDRESS_BOOK_WRITE_DELAY_MS, ADDRESSES_PER_PEER_MAX } from './constants.ts'

const fileSchema = z.object({ peers: z.record(z.string(), z.array(z.string())) })

/**
 * Where peers were last seen, kept in `<dataDir>/dht/peers.json` so that a node finds the cluster
 * again when the bootstrap nodes are down. Only a hint: a lost or broken file costs nothing but
 * time, so it is written without fsync and a bad one is ignored.
 */
export class AddressBook {
  readonly #log: Logger
  readonly #path: string
  readonly #isKept: (peerId: string) => boolean
  readonly #addresses = new Map<string, string[]>()
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  /** `isKept` bounds the book: addresses of peers it refuses are neither taken nor written. */
  constructor(
    components: { log: Logger; isKept: (peerId: string) => boolean },
    init: { dataDir: string },
  ) {
    this.#log = components.log
    this.#isKept = components.isKept
    this.#path = join(init.dataDir, 'dht', 'peers.json')
  }

  async load(): Promise<void> {
    try {
      const { peers } = fileSchema.parse(JSON.parse(await readFile(this.#path, 'utf8')))
      for (const [peerId, addresses] of Object.entries(peers)) this.#take(peerId, addresses)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      this.#log.warn({ err: error, path: this.#path }, 'known addresses cannot be read, ignored')
    }
  }

  /** Newest first. */
  addressesOf(peerId: string): readonly string[] {
    return this.#addresses.get(peerId) ?? []
  }

  /** Puts the addresses in front of those known; the oldest beyond the limit are forgotten. */
  add(peerId: string, addresses: readonly string[]): void {
    if (this.#take(peerId, addresses)) this.#scheduleWrite()
  }

  /** Writes what is still unwritten. */
  async close(): Promise<void> {
    if (this.#timer) {
      clearTimeout(this.#timer)
      this.#write()
    }
    await this.#writing
  }

  #take(peerId: string, addresses: readonly string[]): boolean {
    if (!this.#isKept(peerId)) return false
    const before = this.addressesOf(peerId)
    const usable = addresses
      .map((text) => parseTCPAddress(text))
      .filter((address) => address !== undefined)
      .map((address) => withoutPeerId(address))
    const after = [...new Set([...usable, ...before])].slice(0, ADDRESSES_PER_PEER_MAX)
    if (after.length === before.length && after.every((text, i) => text === before[i])) return false
    this.#addresses.set(peerId, after)
    return true
  }

  #scheduleWrite(): void {
    this.#timer ??= setTimeout(() => this.#write(), ADDRESS_BOOK_WRITE_DELAY_MS)
  }

  #write(): void {
    this.#timer = undefined
    this.#writing = this.#writing.then(async () => {
      const peers = Object.fromEntries(
        [...this.#addresses].filter(([peerId]) => this.#isKept(peerId)),
      )
      try {
        await mkdir(dirname(this.#path), { recursive: true })
        const temporary = `${this.#path}.${randomUUID()}`
        await writeFile(temporary, JSON.stringify({ peers }, null, 2) + '\n')
        await rename(temporary, this.#path)
      } catch (error) {
        this.#log.warn({ err: error, path: this.#path }, 'known addresses cannot be written')
      }
    })
  }
}
