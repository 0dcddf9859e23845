import { dirname } from 'node:path'

import type { DiskFile, DiskFiles } from '../../../p2p-daemon/store/disk-files.ts'

/** A write or truncation that the disk has not confirmed. */
type Change = { id: number } & ({ at: number; bytes: Buffer } | { size: number })

const PAGE_BYTES = 4096

class Inode {
  readonly number: number
  /** What a reader sees. */
  current: Buffer = Buffer.alloc(0)
  /** What survives a power cut for certain. */
  durable: Buffer = Buffer.alloc(0)
  pending: Change[] = []
  /** The last change that `durable` has. */
  durableId = 0
  constructor(number: number) {
    this.number = number
  }
}

type Names = Map<string, Inode | 'directory'>

/**
 * A disk in memory that forgets, at a power cut, what was not synced: of the writes of a file any
 * subset of their pages survives, and of the names of a directory any subset of
 * the changes since its last sync. So every sync the store leaves out can be seen to matter.
 */
export class SimulatedDisk implements DiskFiles {
  readonly #random: () => number
  #names: Names = new Map()
  #durableNames: Names = new Map()
  #inodes = 0
  #cuts = 0
  #ids = 0
  /** Called before every change; throws to cut the power in the middle of anything. */
  beforeChange: () => void = () => undefined

  /** `root` exists and survives. */
  constructor(random: () => number, root: string) {
    this.#random = random
    this.#names.set(root, 'directory')
    this.#durableNames.set(root, 'directory')
  }

  /** Everything above is gone; handles opened before refuse from here on. */
  cutPower(): void {
    this.#cuts += 1
    const survivors: Names = new Map(this.#durableNames)
    const touched = new Set([...this.#names.keys(), ...this.#durableNames.keys()])
    for (const path of touched) {
      const now = this.#names.get(path)
      if (now === this.#durableNames.get(path) || this.#random() < 0.5) continue
      if (now === undefined) survivors.delete(path)
      else survivors.set(path, now)
    }
    // A name whose directory did not survive is not there either.
    for (const path of [...survivors.keys()].toSorted()) {
      const parent = survivors.get(dirname(path))
      if (parent === undefined && this.#names.has(dirname(path))) survivors.delete(path)
    }
    for (const inode of survivors.values()) if (inode instanceof Inode) this.#tear(inode)
    this.#names = survivors
    this.#durableNames = new Map(survivors)
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    let inode = this.#names.get(path)
    if (mode === 'create') {
      if (inode !== undefined) throw failure('EEXIST', path)
      this.#change()
      this.#inodes += 1
      inode = new Inode(this.#inodes)
      this.#names.set(path, inode)
    }
    if (!(inode instanceof Inode)) throw failure('ENOENT', path)
    return this.#handle(inode)
  }

  async rename(from: string, to: string): Promise<void> {
    this.#change()
    const inode = this.#names.get(from)
    if (inode === undefined) throw failure('ENOENT', from)
    this.#names.delete(from)
    this.#names.set(to, inode)
  }

  async unlink(path: string): Promise<void> {
    this.#change()
    if (!this.#names.delete(path)) throw failure('ENOENT', path)
  }

  async makeDirectory(path: string): Promise<boolean> {
    if (this.#names.has(path)) return false
    this.#change()
    this.#names.set(path, 'directory')
    return true
  }

  async syncDirectory(path: string): Promise<void> {
    this.#change()
    for (const names of [this.#names, this.#durableNames]) {
      for (const child of names.keys()) {
        if (dirname(child) !== path) continue
        const now = this.#names.get(child)
        if (now === undefined) this.#durableNames.delete(child)
        else this.#durableNames.set(child, now)
      }
    }
  }

  async list(path: string): Promise<string[]> {
    const children = [...this.#names.keys()].filter((child) => dirname(child) === path)
    return children.map((child) => child.slice(path.length + 1))
  }

  async stat(path: string): Promise<{ sizeBytes: number; inode: number } | undefined> {
    const inode = this.#names.get(path)
    if (inode === undefined) return undefined
    if (inode === 'directory') return { sizeBytes: 0, inode: 0 }
    return { sizeBytes: inode.current.byteLength, inode: inode.number }
  }

  #handle(inode: Inode): DiskFile {
    const cuts = this.#cuts
    const alive = () => {
      if (this.#cuts !== cuts) throw new PowerCut()
    }
    return {
      read: async (buffer, position) => {
        alive()
        return inode.current.copy(buffer, 0, position)
      },
      write: async (buffers, position) => {
        alive()
        this.#change()
        // A copy: what the caller does with its buffers later is not on the disk.
        const bytes = Buffer.concat(buffers)
        await this.#aWhile()
        alive()
        inode.pending.push({ id: this.#nextId(), at: position, bytes })
        inode.current = written(inode.current, position, bytes)
        return bytes.byteLength
      },
      datasync: async () => {
        alive()
        this.#change()
        // What is written while the sync is under way is not part of it.
        const image = Buffer.from(inode.current)
        const upTo = inode.pending.at(-1)?.id ?? inode.durableId
        await this.#aWhile()
        alive()
        if (upTo <= inode.durableId) return
        inode.durable = image
        inode.durableId = upTo
        inode.pending = inode.pending.filter(({ id }) => id > upTo)
      },
      sizeBytes: async () => inode.current.byteLength,
      truncate: async (size) => {
        alive()
        this.#change()
        inode.pending.push({ id: this.#nextId(), size })
        inode.current = inode.current.subarray(0, size)
      },
      close: async () => undefined,
    }
  }

  #change(): void {
    this.beforeChange()
  }

  #nextId(): number {
    this.#ids += 1
    return this.#ids
  }

  /** Steps that were asked for together end in any order. */
  async #aWhile(): Promise<void> {
    while (this.#random() < 0.4) await new Promise((resolve) => setImmediate(resolve))
  }

  #tear(inode: Inode): void {
    for (const change of inode.pending) {
      const luck = this.#random()
      if (luck < 0.3) continue
      if ('size' in change) {
        inode.durable = inode.durable.subarray(0, change.size)
        continue
      }
      // Each page of the cache is written back on its own, or not at all.
      for (let from = 0; from < change.bytes.byteLength;) {
        const page = PAGE_BYTES - ((change.at + from) % PAGE_BYTES)
        const piece = change.bytes.subarray(from, from + page)
        const survives = luck > 0.8 || this.#random() < 0.5
        if (survives) inode.durable = written(inode.durable, change.at + from, piece)
        from += page
      }
    }
    inode.pending = []
    inode.current = Buffer.from(inode.durable)
  }
}

export class PowerCut extends Error {
  override readonly name = 'PowerCut'
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}

/** A hole reads as zeros, as on a real disk. */
function written(file: Buffer, at: number, bytes: Buffer): Buffer {
  const size = Math.max(file.byteLength, at + bytes.byteLength)
  const result = Buffer.alloc(size)
  file.copy(result)
  bytes.copy(result, at)
  return result
}
