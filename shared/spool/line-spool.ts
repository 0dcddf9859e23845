import { appendFile, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { Logger } from '../log/log.ts'

export interface LineSpoolInit<Entry> {
  dir: string
  /** Names the file, so it is unique among the processes of one folder. */
  name: string
  /** Throws when the line is no entry, such as the torn last one of a crash. */
  parse: (line: string) => Entry
}

/**
 * Entries that a database could not take, one JSON line each, in a file of one process. It survives
 * the end of the process, also by kill -9; a line torn by a crash is left out and logged. It holds
 * at most the entries that may wait.
 */
export class LineSpool<Entry extends { id: string }> {
  readonly #log: Logger
  readonly #init: LineSpoolInit<Entry>
  readonly #file: string

  constructor({ log }: { log: Logger }, init: LineSpoolInit<Entry>) {
    this.#log = log
    this.#init = init
    this.#file = join(init.dir, `${init.name}.jsonl`)
  }

  /** What an earlier process left. */
  async read(): Promise<Entry[]> {
    const text = await readFile(this.#file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const lines = text.split('\n').filter((line) => line !== '')
    // By id, because an append that failed half way was repeated as a whole.
    const entries = new Map<string, Entry>()
    for (const line of lines) {
      try {
        const entry = this.#init.parse(line)
        entries.set(entry.id, entry)
      } catch (error) {
        this.#log.error({ err: error, file: this.#file }, 'a line of the spool is torn')
      }
    }
    return [...entries.values()]
  }

  /** A newline goes first as well: what a torn line is followed by stays readable. */
  async add(entries: readonly Entry[]): Promise<void> {
    await mkdir(this.#init.dir, { recursive: true, mode: 0o700 })
    const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`)
    await appendFile(this.#file, `\n${lines.join('')}`, { mode: 0o600, flush: true })
  }

  async clear(): Promise<void> {
    await rm(this.#file, { force: true })
  }
}
