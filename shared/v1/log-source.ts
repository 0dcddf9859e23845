import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'

import { LogNotFoundError } from '../errors.ts'
import { FOLDER_DEPTH_MAX, LOGS_MAX } from './constants.ts'
import { listCores, readCore, withCopy, type TreeReport } from './core-log.ts'
import { readLogFile } from './log-file.ts'
import type { RawRecord } from './record-splitter.ts'

/** One log, in whatever it is kept. */
export interface LogSource {
  /** As the caller named it. */
  path: string
  sizeBytes: number
  /** Of a hypercore its key; null for files. */
  core: string | null
  /** What the signed tree of a hypercore says is told once it has been read to its end. */
  read(
    signal: AbortSignal,
    onTree?: (report: TreeReport) => void,
  ): AsyncIterable<readonly RawRecord[]>
}

/** What a folder is searched for; a file that is named itself may be called anything. */
const EXTENSIONS = new Set(['.ndjson', '.jsonl', '.json'])

/**
 * The logs that the paths name: files, Hypercores, Corestores, and folders with any of them. Cores
 * are copied; the copies are there as long as `use` runs.
 * @throws LogNotFoundError, HypercoreMissingError
 */
export async function withLogs<T>(
  paths: readonly string[],
  use: (sources: readonly LogSource[]) => Promise<T>,
): Promise<T> {
  const sources: LogSource[] = []
  const folders: string[] = []
  for (const path of paths) {
    const before = sources.length + folders.length
    await add(path, 0, sources, folders)
    if (sources.length + folders.length === before) {
      throw new LogNotFoundError(`There is no log in ${path}.`)
    }
  }
  return withCores(folders, sources, use)
}

/** Opens one folder after the other, and uses all when the last is open. */
async function withCores<T>(
  folders: readonly string[],
  sources: readonly LogSource[],
  use: (sources: readonly LogSource[]) => Promise<T>,
): Promise<T> {
  const [folder, ...rest] = folders
  if (folder === undefined) return use(sources)
  return withCopy(folder, async (copy) => {
    const keys = await listCores(copy)
    const cores = keys.map((key): LogSource => {
      const name = key.toString('hex')
      const read: LogSource['read'] = (signal, onTree = () => undefined) =>
        readCore(copy, key, onTree, signal)
      return { path: folder, core: name, sizeBytes: 0, read }
    })
    if (cores.length === 0) throw new LogNotFoundError(`There is no core in ${folder}.`)
    return withCores(rest, [...sources, ...cores], use)
  })
}

async function add(
  path: string,
  depth: number,
  sources: LogSource[],
  folders: string[],
): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new LogNotFoundError(`There is no ${path}.`, { cause })
  })
  if (!found.isDirectory()) {
    const read: LogSource['read'] = (signal) => readLogFile(path, signal)
    sources.push({ path, core: null, sizeBytes: found.size, read })
    if (sources.length > LOGS_MAX) {
      throw new LogNotFoundError(`There are more than ${LOGS_MAX} logs: name fewer folders.`)
    }
    return
  }
  if (existsSync(join(path, 'db', 'CURRENT'))) {
    folders.push(path)
    return
  }
  if (depth >= FOLDER_DEPTH_MAX) return
  const entries = await readdir(path, { withFileTypes: true })
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const wanted = entry.isDirectory() || (entry.isFile() && EXTENSIONS.has(extname(entry.name)))
    if (wanted) await add(join(path, entry.name), depth + 1, sources, folders)
  }
}
