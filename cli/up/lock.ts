import { readFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'

import { DataFolderLockedError } from '../../shared/errors.ts'
import type { DataLayout } from './data-layout.ts'

/** SQLite's result code for a lock that another connection holds. */
const SQLITE_BUSY = 5

/**
 * One `bzzz up` for each data folder. The lock is the operating system's, held through SQLite, so
 * it dies with the process whatever kills it. The empty file stays: removing it would let a third
 * process lock a new file while a second one waits on the old.
 */
export class DataFolderLock {
  readonly #database: DatabaseSync

  private constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** @throws DataFolderLockedError that names the process which holds it */
  static async acquire(layout: DataLayout): Promise<DataFolderLock> {
    const database = new DatabaseSync(layout.lock)
    try {
      // Without a journal nothing but the empty file is left behind by a kill.
      database.exec('PRAGMA journal_mode = OFF; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
      return new DataFolderLock(database)
    } catch (error) {
      database.close()
      if (!isBusy(error)) throw error
      const holder = await holderOf(layout)
      throw new DataFolderLockedError(
        `${layout.root} is in use by another bzzz up${holder}: stop that one, or name another folder with --data.`,
        { cause: error },
      )
    }
  }

  release(): void {
    if (this.#database.isOpen) this.#database.close()
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY
}

async function holderOf(layout: DataLayout): Promise<string> {
  try {
    const running = JSON.parse(await readFile(layout.running, 'utf8')) as { pid?: unknown }
    return typeof running.pid === 'number' ? ` (process ${running.pid})` : ''
  } catch {
    return ''
  }
}
