import { createReadStream } from 'node:fs'

import { createHasher, hashBytes } from '../../shared/blob/hash.ts'
import type { ImportChunk, ImportQuarantine } from '../../shared/v1/import-parts.ts'
import { ImportReader, type Quarantined } from '../../shared/v1/import-reader.ts'
import type { ImportCounts } from '../../shared/v1/import-summary.ts'
import { withLogs, type LogSource } from '../../shared/v1/log-source.ts'
import type { CommandHost } from '../host.ts'
import { createEntriesBar } from './entries-bar.ts'

/** Everything an import is made of, but for its bytes. */
export interface Collected {
  /** The same logs are the same import, wherever they lie. */
  id: string
  files: string[]
  chunks: ImportChunk[]
  quarantine: ImportQuarantine[]
  counts: ImportCounts
}

/** Where the bytes go; without one they are only counted and hashed. */
export interface Uploader {
  put(body: Buffer): Promise<void>
  /** @returns the hash */
  putStream(stream: AsyncIterable<Uint8Array>, sizeBytes: number): Promise<string>
  flush(): Promise<void>
}

const ID_CHARS = 32

/** Reads all logs once. What it holds grows with the chunks, a thousandth of the entries. */
export async function collect(
  host: CommandHost,
  paths: readonly string[],
  { label, uploader }: { label: string; uploader: Uploader | null },
): Promise<Collected> {
  const reader = new ImportReader()
  const files: string[] = []
  const chunks: ImportChunk[] = []
  const quarantine: ImportQuarantine[] = []
  const bar = createEntriesBar(host.stderr, label)
  try {
    await withLogs(paths, async (sources) => {
      const bytes = sources.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
      let before = 0
      for (const [log, source] of sources.entries()) {
        files.push(source.core === null ? source.path : `${source.path}#${source.core}`)
        for await (const item of reader.read(source, host.signal)) {
          if (item.kind === 'chunk') {
            const { author, genesis, chunk, start, entries, previous } = item.header
            const { body, head } = item
            const name = { log, author, genesis, chunk }
            chunks.push({ ...name, start, entries, previous, head, blob: hashBytes(body) })
            await uploader?.put(body)
          } else {
            quarantine.push(await setAside(source, files[log]!, item.quarantined, uploader))
          }
          const { records, offset } = reader.summary
          bar.update(records, bytes > 0 ? (before + offset) / bytes : 0)
        }
        before += source.sizeBytes
      }
      await uploader?.flush()
    })
  } finally {
    bar.stop()
  }
  const names = [...chunks, ...quarantine].map(({ blob }) => blob).toSorted()
  const id = hashBytes(Buffer.from(names.join())).slice(0, ID_CHARS)
  return { id, files, chunks, quarantine, counts: reader.summary.counts }
}

async function setAside(
  source: LogSource,
  file: string,
  { body, sizeBytes, ...rest }: Quarantined,
  uploader: Uploader | null,
): Promise<ImportQuarantine> {
  if (body !== null) {
    await uploader?.put(body)
    return { file, ...rest, sizeBytes, blob: hashBytes(body) }
  }
  // Too long to be held: read again from its place. Blocks of a core are never that long.
  const bytes = () =>
    createReadStream(source.path, { start: rest.offset, end: rest.offset + sizeBytes - 1 })
  const blob = uploader ? await uploader.putStream(bytes(), sizeBytes) : await hashStream(bytes())
  return { file, ...rest, sizeBytes, blob }
}

async function hashStream(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const hasher = createHasher()
  for await (const chunk of stream) hasher.update(chunk)
  return hasher.digestHex()
}
