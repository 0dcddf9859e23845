import { appendFile, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { Logger } from '../log/log.ts'
import { parseEntry, type AuditEntry } from './audit-entry.ts'

/**
 * Entries that the database could not take, one JSON line each, in a file of one process. It
 * survives the end of the process, also by kill -9; a line torn by a crash is left out and logged.
 * It holds at most the entries that may wait (PENDING_MAX), about 8 MiB.
 */
export class AuditSpool {
  readonly #log: Logger
  readonly #dir: string
  readonly #file: string

  constructor({ log }: { log: Logger }, init: { dir: string; component: string }) {
    this.#log = log
    this.#dir = init.dir
    this.#file = join(init.dir, `${init.component}.jsonl`)
  }

  /** What an earlier process left. */
  async read(): Promise<AuditEntry[]> {
    const text = await readFile(this.#file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const lines = text.split('\n').filter((line) => line !== '')
    // By id, because an append that failed half way was repeated as a whole.
    const entries = new Map<string, AuditEntry>()
    for (const line of lines) {
      try {
        const entry = parseEntry(line)
        entries.set(entry.id, entry)
      } catch (error) {
        this.#log.error({ err: error, file: this.#file }, 'a line of the audit spool is torn')
      }
    }
    return [...entries.values()]
  }

  /** A newline goes first as well: what a torn line is followed by stays readable. */
  async add(entries: readonly AuditEntry[]): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
    const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`)
    await appendFile(this.#file, `\n${lines.join('')}`, { mode: 0o600, flush: true })
  }

  async clear(): Promise<void> {
    await rm(this.#file, { force: true })
  }
}
