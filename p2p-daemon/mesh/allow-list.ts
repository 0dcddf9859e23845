import { join } from 'node:path'

import { z } from 'zod'

import { InvalidConfigError, InvalidRecordError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'
import { WatchedFile } from '../../shared/file/watched-file.ts'
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
 * The allow-list in `<dataDir>/config/peers.json`: `{"peers": [{"peerId", "name"}]}`, looked at
 * every half second. A file that is missing allows nobody. One that cannot be read later changes
 * nothing: a typo must not cut the cluster apart.
 */
export class FileAllowList implements AllowList {
  readonly #path: string
  readonly #file: WatchedFile<ReadonlyMap<string, string>>
  readonly #listeners = new Set<() => void>()
  #names: ReadonlyMap<string, string> = new Map()
  #changing: Promise<void> = Promise.resolve()

  constructor(components: { log: Logger }, init: FileAllowListInit) {
    const log = components.log.child({ component: 'allow-list' })
    this.#path = join(init.dataDir, 'config', 'peers.json')
    this.#file = new WatchedFile(
      { log },
      {
        path: this.#path,
        what: 'allow-list',
        absent: '{"peers":[]}',
        parse: parseNames,
        onChange: (names) => {
          this.#names = names
          log.info({ peers: names.size }, 'allow-list read')
          for (const listener of this.#listeners) listener()
        },
        pollMs: init.pollMs ?? ALLOW_LIST_POLL_MS,
      },
    )
  }

  /** @throws InvalidConfigError when the file is there but is not an allow-list */
  start(): Promise<void> {
    return this.#file.start()
  }

  stop(): Promise<void> {
    return this.#file.stop()
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
      const { problem } = this.#file
      if (problem !== undefined) throw new InvalidConfigError(problem)
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
  reload(): Promise<void> {
    return this.#file.reload()
  }
}

function parseNames(text: string): ReadonlyMap<string, string> {
  const { peers } = fileSchema.parse(JSON.parse(text))
  return new Map(peers.map(({ peerId, name }) => [peerId, name]))
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
