import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'

import { LogNotFoundError } from '../errors.ts'
import { FOLDER_DEPTH_MAX, LOGS_MAX } from './constants.ts'
import { readLogFile } from './log-file.ts'
import type { RawRecord } from './record-splitter.ts'

/** One log, in whatever it is kept. */
export interface LogSource {
  /** As the caller named it. */
  path: string
  sizeBytes: number
  read(signal: AbortSignal): AsyncIterable<readonly RawRecord[]>
}

/** What a folder is searched for; a file that is named itself may be called anything. */
const EXTENSIONS = new Set(['.ndjson', '.jsonl', '.json'])

/** The logs that the paths name: files, and folders with files. @throws LogNotFoundError */
export async function findLogs(paths: readonly string[]): Promise<LogSource[]> {
  const sources: LogSource[] = []
  for (const path of paths) {
    const before = sources.length
    await add(path, 0, sources)
    if (sources.length === before) throw new LogNotFoundError(`There is no log in ${path}.`)
  }
  return sources
}

async function add(path: string, depth: number, sources: LogSource[]): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new LogNotFoundError(`There is no ${path}.`, { cause })
  })
  if (!found.isDirectory()) {
    sources.push({ path, sizeBytes: found.size, read: (signal) => readLogFile(path, signal) })
    if (sources.length > LOGS_MAX) {
      throw new LogNotFoundError(`There are more than ${LOGS_MAX} logs: name fewer folders.`)
    }
    return
  }
  if (depth >= FOLDER_DEPTH_MAX) return
  const entries = await readdir(path, { withFileTypes: true })
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const wanted = entry.isDirectory() || (entry.isFile() && EXTENSIONS.has(extname(entry.name)))
    if (wanted) await add(join(path, entry.name), depth + 1, sources)
  }
}
