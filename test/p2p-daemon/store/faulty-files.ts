import {
  type DiskFile,
  type DiskFiles,
  NodeDiskFiles,
} from '../../../p2p-daemon/store/disk-files.ts'

export type Step =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'datasync'
  | 'truncate'
  | 'rename'
  | 'unlink'
  | 'makeDirectory'
  | 'syncDirectory'

/** What happens instead of the step: an error code, or half a write. Undefined: the step itself. */
export type Fault = (step: Step, path: string) => string | 'short' | undefined

/** The real file system with faults at the steps a test names. */
export class FaultyFiles implements DiskFiles {
  readonly #files = new NodeDiskFiles()
  fault: Fault = () => undefined
  /** Steps taken, for tests that walk through all of them. */
  readonly steps: { step: Step; path: string }[] = []

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    this.#check(mode === 'create' ? 'create' : 'open', path)
    const file = await this.#files.open(path, mode)
    return {
      read: async (buffer, position) => {
        this.#check('read', path)
        return file.read(buffer, position)
      },
      write: async (buffers, position) => {
        if (this.#check('write', path) !== 'short') return file.write(buffers, position)
        const bytes = Buffer.concat(buffers)
        return file.write([bytes.subarray(0, Math.floor(bytes.byteLength / 2))], position)
      },
      datasync: async () => {
        this.#check('datasync', path)
        return file.datasync()
      },
      sizeBytes: () => file.sizeBytes(),
      truncate: async (sizeBytes) => {
        this.#check('truncate', path)
        return file.truncate(sizeBytes)
      },
      close: () => file.close(),
    }
  }

  async rename(from: string, to: string): Promise<void> {
    this.#check('rename', to)
    return this.#files.rename(from, to)
  }

  async unlink(path: string): Promise<void> {
    this.#check('unlink', path)
    return this.#files.unlink(path)
  }

  async makeDirectory(path: string): Promise<boolean> {
    this.#check('makeDirectory', path)
    return this.#files.makeDirectory(path)
  }

  async syncDirectory(path: string): Promise<void> {
    this.#check('syncDirectory', path)
    return this.#files.syncDirectory(path)
  }

  list(path: string): Promise<string[]> {
    return this.#files.list(path)
  }

  stat(path: string): Promise<{ sizeBytes: number; inode: number } | undefined> {
    return this.#files.stat(path)
  }

  #check(step: Step, path: string): string | undefined {
    this.steps.push({ step, path })
    const code = this.fault(step, path)
    if (code === undefined || code === 'short') return code
    throw Object.assign(new Error(`${code}: ${step} ${path}`), { code })
  }
}
