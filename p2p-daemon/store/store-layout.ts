import { join } from 'node:path'

import { DataFolderForeignError, DataFolderNewerError } from '../../shared/errors.ts'
import { type DiskFiles, writeNewFile } from './disk-files.ts'

const FORMAT = 'bzzz-blobs'
const FORMAT_VERSION = 1

/** Ours has 36 bytes; whatever is much longer is not ours. */
const FORMAT_BYTES_MAX = 1024

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
    const version = await this.#formatVersion(files)
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
      const text = `${JSON.stringify({ format: FORMAT, version: FORMAT_VERSION })}\n`
      await files.unlink(`${this.formatPath}.new`).catch(() => undefined)
      await writeNewFile(files, `${this.formatPath}.new`, Buffer.from(text))
      await files.rename(`${this.formatPath}.new`, this.formatPath)
    }
    await files.syncDirectory(this.root)
  }

  /** Undefined when there is no format file. */
  async #formatVersion(files: DiskFiles): Promise<number | undefined> {
    const found = await files.stat(this.formatPath)
    if (found === undefined) return undefined
    const file = await files.open(this.formatPath, 'read')
    try {
      const bytes = Buffer.alloc(Math.min(found.sizeBytes, FORMAT_BYTES_MAX))
      await file.read(bytes, 0)
      const { format, version } = JSON.parse(bytes.toString()) as Record<string, unknown>
      if (format === FORMAT && typeof version === 'number') return version
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    } finally {
      await file.close()
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
