import { join } from 'node:path'

import { StorageUnavailableError } from '../../shared/errors.ts'
import { type DiskFile, type DiskFiles, shortWrite } from './disk-files.ts'
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './pack-record.ts'

const NAME_PATTERN = /^(\d{10})\.pack$/
const UNFINISHED = '.new'

interface ReadHandle {
  opening: Promise<DiskFile>
  /** Set once it is open. */
  file: DiskFile | undefined
  users: number
  evicted: boolean
}

/** The segment files: naming, creation, removal, and a bounded set of handles to read from. */
export class PackSegments {
  readonly #files: DiskFiles
  readonly #directory: string
  readonly #openMax: number
  readonly #open = new Map<number, ReadHandle>()
  #closed = false

  constructor(components: { files: DiskFiles }, init: { directory: string; openMax: number }) {
    this.#files = components.files
    this.#directory = init.directory
    this.#openMax = init.openMax
  }

  path(segment: number): string {
    return join(this.#directory, `${String(segment).padStart(10, '0')}.pack`)
  }

  /** Ascending. */
  async list(): Promise<number[]> {
    const segments: number[] = []
    for (const name of await this.#files.list(this.#directory)) {
      const digits = NAME_PATTERN.exec(name)?.[1]
      if (digits !== undefined) segments.push(Number(digits))
    }
    return segments.toSorted((a, b) => a - b)
  }

  /** At start: segments a crash left before they had their name. Nothing refers to them. */
  async sweepUnfinished(): Promise<void> {
    for (const name of await this.#files.list(this.#directory)) {
      if (name.endsWith(UNFINISHED)) await this.#files.unlink(join(this.#directory, name))
    }
  }

  /** A new segment with its header on disk under its final name. */
  async create(segment: number): Promise<{ file: DiskFile; salt: Buffer }> {
    const created = await this.createUnfinished(segment)
    try {
      await created.file.datasync()
      await this.finish(segment)
      return created
    } catch (error) {
      await created.file.close().catch(() => undefined)
      await this.#files.unlink(this.#unfinishedPath(segment)).catch(() => undefined)
      await this.#files.unlink(this.path(segment)).catch(() => undefined)
      throw error
    }
  }

  /** Compaction fills a segment that counts only from `finish` on; a start before removes it. */
  async createUnfinished(segment: number): Promise<{ file: DiskFile; salt: Buffer }> {
    const path = this.#unfinishedPath(segment)
    await this.#files.unlink(path).catch(() => undefined)
    const file = await this.#files.open(path, 'create')
    try {
      const bytes = encodeSegmentHeader(segment, Date.now())
      const header = decodeSegmentHeader(bytes)
      const written = await file.write([bytes], 0)
      if (header === undefined || written !== bytes.byteLength) throw shortWrite(written)
      return { file, salt: header.salt }
    } catch (error) {
      await file.close().catch(() => undefined)
      await this.#files.unlink(path).catch(() => undefined)
      throw error
    }
  }

  async finish(segment: number): Promise<void> {
    await this.#files.rename(this.#unfinishedPath(segment), this.path(segment))
    await this.#files.syncDirectory(this.#directory)
  }

  async abandon(segment: number): Promise<void> {
    await this.#files.unlink(this.#unfinishedPath(segment)).catch(() => undefined)
  }

  /** For the writer and for scans; the caller closes it. */
  open(segment: number, mode: 'read' | 'write'): Promise<DiskFile> {
    return this.#files.open(this.path(segment), mode)
  }

  /** Undefined when both copies of the header are damaged. */
  async header(file: DiskFile): Promise<SegmentHeader | undefined> {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
    const count = await file.read(bytes, 0)
    return decodeSegmentHeader(bytes.subarray(0, count))
  }

  /** Fills `buffer` from `position`; resolves to the bytes there were. */
  async read(segment: number, buffer: Uint8Array, position: number): Promise<number> {
    const handle = this.#acquire(segment)
    try {
      const file = handle.file ?? (await handle.opening)
      return await file.read(buffer, position)
    } finally {
      handle.users -= 1
      if (handle.evicted && handle.users === 0) this.#close(handle)
    }
  }

  async sizeBytes(segment: number): Promise<number> {
    return (await this.#files.stat(this.path(segment)))?.sizeBytes ?? 0
  }

  async remove(segment: number): Promise<void> {
    this.#evict(segment)
    await this.#files.unlink(this.path(segment))
    await this.#files.syncDirectory(this.#directory)
  }

  /** Nothing can be read afterwards. */
  closeAll(): void {
    this.#closed = true
    for (const segment of this.#open.keys()) this.#evict(segment)
  }

  /** The least recently used handle gives way to a new one. */
  #acquire(segment: number): ReadHandle {
    if (this.#closed) throw new StorageUnavailableError('The store is stopped.')
    let handle = this.#open.get(segment)
    if (handle === undefined) {
      const oldest = this.#open.size >= this.#openMax ? this.#open.keys().next().value : undefined
      if (oldest !== undefined) this.#evict(oldest)
      handle = this.#openHandle(segment)
    } else {
      this.#open.delete(segment)
    }
    this.#open.set(segment, handle)
    handle.users += 1
    return handle
  }

  #openHandle(segment: number): ReadHandle {
    const opening = this.open(segment, 'read')
    const handle: ReadHandle = { opening, file: undefined, users: 0, evicted: false }
    opening.then(
      (file) => {
        handle.file = file
      },
      () => {
        if (this.#open.get(segment) === handle) this.#open.delete(segment)
      },
    )
    return handle
  }

  #evict(segment: number): void {
    const handle = this.#open.get(segment)
    if (handle === undefined) return
    this.#open.delete(segment)
    handle.evicted = true
    if (handle.users === 0) this.#close(handle)
  }

  /** A handle that was only read from has nothing to lose when its close fails. */
  #close(handle: ReadHandle): void {
    handle.opening.then((file) => file.close()).catch(() => undefined)
  }

  #unfinishedPath(segment: number): string {
    return `${this.path(segment)}${UNFINISHED}`
  }
}
