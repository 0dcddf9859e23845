import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import {
  DiskStore,
  type DiskStoreComponents,
  type DiskStoreInit,
} from '../../../p2p-daemon/store/disk-store.ts'
import { collect } from '../../suites/blob-store.ts'
import { makeTempDir, type TempDir } from './temp-dir.ts'

/** A data folder whose store can be closed, looked at from outside, and opened again. */
export class StoreFixture {
  readonly #dir: TempDir
  readonly #init: Partial<DiskStoreInit>
  readonly #components: DiskStoreComponents
  readonly corrupt: { hash: string; reason: string }[] = []
  #store: DiskStore | undefined

  constructor(dir: TempDir, components: DiskStoreComponents, init: Partial<DiskStoreInit>) {
    this.#dir = dir
    this.#components = components
    this.#init = init
  }

  static async open(
    components: DiskStoreComponents = {},
    init: Partial<DiskStoreInit> = {},
  ): Promise<StoreFixture> {
    const fixture = new StoreFixture(await makeTempDir(), components, init)
    await fixture.start()
    return fixture
  }

  get store(): DiskStore {
    if (this.#store === undefined) throw new Error('The store is closed.')
    return this.#store
  }

  get dataDir(): string {
    return this.#dir.path
  }

  path(...names: string[]): string {
    return join(this.#dir.path, 'blobs', ...names)
  }

  loosePath(hash: string): string {
    return this.path('data', hash.slice(0, 2), hash.slice(2, 4), hash)
  }

  async packs(): Promise<string[]> {
    const names = await readdir(this.path('data', 'packs'))
    return names.toSorted().map((name) => this.path('data', 'packs', name))
  }

  async start(): Promise<void> {
    const onCorrupt = (hash: string, reason: string) => void this.corrupt.push({ hash, reason })
    const init = { dataDir: this.#dir.path, ...this.#init }
    this.#store = new DiskStore({ onCorrupt, ...this.#components }, init)
    await this.#store.start()
  }

  async stop(): Promise<void> {
    await this.#store?.stop()
    this.#store = undefined
  }

  async restart(options: { withoutIndex?: boolean } = {}): Promise<void> {
    await this.stop()
    if (options.withoutIndex === true) {
      for (const suffix of ['', '-wal', '-shm']) {
        await rm(this.path('index', `primary.db${suffix}`), { force: true })
      }
    }
    await this.start()
  }

  async read(hash: string, range: { start?: number; end?: number } = {}): Promise<Buffer> {
    return collect((await this.store.get(hash, range)).body)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#dir.remove()
  }
}
