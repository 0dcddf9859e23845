import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { DataFolderForeignError, DataFolderNewerError } from '../../shared/errors.ts'
import { type DiskFiles, errorCode } from './disk-files.ts'

const FORMAT = 'bzzz-blobs'
const FORMAT_VERSION = 1

/** Where everything lies below `<dataDir>/blobs/`. */
export class StoreLayout {
  readonly root: string
  readonly data: string
  readonly packs: string
  readonly conversations: string
  readonly index: string
  readonly temp: string
  readonly quarantine: string
  readonly indexPath: string
  readonly formatPath: string

  constructor(dataDir: string) {
    this.root = join(dataDir, 'blobs')
    this.data = join(this.root, 'data')
    this.packs = join(this.data, 'packs')
    this.conversations = join(this.root, 'conversations')
    this.index = join(this.root, 'index')
    this.temp = join(this.root, 'temp')
    this.quarantine = join(this.root, 'quarantine')
    this.indexPath = join(this.index, 'primary.db')
    this.formatPath = join(this.root, 'format.json')
  }

  /** The two directories that lead to a loose blob, and its path. */
  loose(hash: string): { outer: string; shard: string; path: string } {
    const outer = join(this.data, hash.slice(0, 2))
    const shard = join(outer, hash.slice(2, 4))
    return { outer, shard, path: join(shard, hash) }
  }

  /**
   * Makes the directories and the format file, or checks the one that is there. Data without a
   * format file is not ours to touch: nothing is created over it.
   */
  async prepare(files: DiskFiles, dataDir: string): Promise<void> {
    await files.makeDirectory(dataDir)
    if (await files.makeDirectory(this.root)) await files.syncDirectory(dataDir)
    const version = await this.#formatVersion()
    if (version === undefined) {
      const foreign = [...(await files.list(this.data)), ...(await files.list(this.packs))]
      if (foreign.some((name) => name !== 'packs')) {
        throw new DataFolderForeignError(`${this.root} holds data but no format.json.`)
      }
    } else if (version > FORMAT_VERSION) {
      throw new DataFolderNewerError(`${this.root} was written by a newer release.`)
    }
    const folders = [this.data, this.packs, this.conversations, this.index, this.temp]
    for (const folder of [...folders, this.quarantine]) await files.makeDirectory(folder)
    await files.syncDirectory(this.data)
    if (version === undefined) {
      const text = JSON.stringify({ format: FORMAT, version: FORMAT_VERSION })
      await writeFile(this.formatPath, `${text}\n`, { flush: true })
    }
    await files.syncDirectory(this.root)
  }

  /** Undefined when there is no format file. */
  async #formatVersion(): Promise<number | undefined> {
    try {
      const parsed = JSON.parse(await readFile(this.formatPath, 'utf8')) as Record<string, unknown>
      if (parsed['format'] === FORMAT && typeof parsed['version'] === 'number') {
        return parsed['version']
      }
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined
      if (!(error instanceof SyntaxError)) throw error
    }
    throw new DataFolderForeignError(`${this.formatPath} is not the format file of a blob store.`)
  }

  /** What a crash left half written. Nothing in temp was ever acknowledged. */
  async sweepTemp(files: DiskFiles): Promise<number> {
    const names = await files.list(this.temp)
    for (const name of names) await files.unlink(join(this.temp, name))
    return names.length
  }
}
