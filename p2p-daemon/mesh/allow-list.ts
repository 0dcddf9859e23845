import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { z } from 'zod'

import { InvalidConfigError, InvalidRecordError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { publicKeyOf } from '../../shared/record/record.ts'
import { ALLOW_LIST_POLL_MS } from './constants.ts'

/** Which peers may be here. Nobody else gets past the handshake. */
export interface AllowList extends Startable {
  has(peerId: string): boolean
  peerIds(): readonly string[]
  /** The name the operator gave the peer. */
  nameOf(peerId: string): string | undefined
  /** Called after the list changed. Returns the way to stop listening. */
  onChange(listener: () => void): () => void
}

const fileSchema = z.strictObject({
  peers: z.array(
    z.strictObject({
      peerId: z.string().refine(isEd25519PeerId, 'is not an Ed25519 peer id'),
      name: z.string().min(1).max(63),
    }),
  ),
})

export interface FileAllowListInit {
  dataDir: string
  pollMs?: number
}

/**
 * The allow-list in `<dataDir>/config/peers.json`: `{"peers": [{"peerId", "name"}]}`. The file is
 * read again every half second rather than watched: that works on every file system and with
 * every editor. A file that is missing at the start allows nobody. One that cannot be read later
 * changes nothing: a typo must not cut the cluster apart, and is reported until it is mended.
 */
export class FileAllowList implements AllowList {
  readonly #log: Logger
  readonly #path: string
  readonly #pollMs: number
  readonly #listeners = new Set<() => void>()
  #names: ReadonlyMap<string, string> = new Map()
  #text: string | undefined
  #problem: string | undefined
  #timer: NodeJS.Timeout | undefined
  #reading: Promise<void> = Promise.resolve()
  #changing: Promise<void> = Promise.resolve()

  constructor(components: { log: Logger }, init: FileAllowListInit) {
    this.#log = components.log.child({ component: 'allow-list' })
    this.#path = join(init.dataDir, 'config', 'peers.json')
    this.#pollMs = init.pollMs ?? ALLOW_LIST_POLL_MS
  }

  /** @throws InvalidConfigError when the file is there but is not an allow-list */
  async start(): Promise<void> {
    if (this.#timer) return
    await this.reload()
    if (this.#problem !== undefined) throw new InvalidConfigError(this.#problem)
    this.#timer ??= setInterval(() => {
      this.#reading = this.reload()
    }, this.#pollMs)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#reading
  }

  has(peerId: string): boolean {
    return this.#names.has(peerId)
  }

  peerIds(): readonly string[] {
    return [...this.#names.keys()]
  }

  nameOf(peerId: string): string | undefined {
    return this.#names.get(peerId)
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Takes peers off the list, in the file too, and cuts them off at once.
   * @throws InvalidConfigError when the file is no allow-list
   */
  strike(isStruck: (peerId: string) => boolean): Promise<void> {
    return this.#change((names) => [...names].filter(([peerId]) => !isStruck(peerId)))
  }

  /**
   * Puts peers on the list, in the file too; those that are there keep their names.
   * @throws InvalidConfigError when the file is no allow-list, or an id is no Ed25519 peer id
   */
  add(peers: readonly { peerId: string; name: string }[]): Promise<void> {
    const bad = peers.find(({ peerId }) => !isEd25519PeerId(peerId))
    if (bad) return Promise.reject(new InvalidConfigError(`${bad.peerId} is no Ed25519 peer id.`))
    return this.#change((names) => [
      ...names,
      ...peers
        .filter(({ peerId }) => !names.has(peerId))
        .map(({ peerId, name }): [string, string] => [peerId, name]),
    ])
  }

  /** One change after the other, each on top of what the file says by then. */
  #change(edit: (names: ReadonlyMap<string, string>) => [string, string][]): Promise<void> {
    const changed = this.#changing.then(async () => {
      await this.reload()
      if (this.#problem !== undefined) throw new InvalidConfigError(this.#problem)
      const names = edit(this.#names)
      if (names.length === this.#names.size) return
      const peers = names.map(([peerId, name]) => ({ peerId, name }))
      await replaceFile(this.#path, `${JSON.stringify({ peers }, null, 2)}\n`)
      await this.reload()
    })
    this.#changing = changed.catch(() => undefined)
    return changed
  }

  /** Looks at the file now instead of at the next tick. */
  async reload(): Promise<void> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#report(`${this.#path} cannot be read: ${String(error)}`)
        return
      }
      text = '{"peers":[]}'
    }
    if (text === this.#text) return
    const names = this.#parse(text)
    if (!names) return
    this.#text = text
    this.#problem = undefined
    this.#names = names
    this.#log.info({ peers: names.size }, 'allow-list read')
    for (const listener of this.#listeners) listener()
  }

  #parse(text: string): Map<string, string> | undefined {
    try {
      const { peers } = fileSchema.parse(JSON.parse(text))
      return new Map(peers.map(({ peerId, name }) => [peerId, name]))
    } catch (error) {
      const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error)
      this.#report(`${this.#path} is not an allow-list: ${reason}`)
      return undefined
    }
  }

  /** Once for each problem, not twice a second. */
  #report(problem: string): void {
    if (problem === this.#problem) return
    this.#problem = problem
    this.#log.error({ problem }, 'allow-list not usable, the last good one stays')
  }
}

export function isEd25519PeerId(text: string): boolean {
  try {
    publicKeyOf(text)
    return true
  } catch (error) {
    if (error instanceof InvalidRecordError) return false
    throw error
  }
}
