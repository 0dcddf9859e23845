import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { hashBytes } from '../../shared/blob/hash.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import {
  HashMismatchError,
  ImportNotFoundError,
  ImportStateError,
  RemoteError,
} from '../../shared/errors.ts'
import { concurrently } from '../../shared/thread/concurrently.ts'
import type { ImportChunk } from '../../shared/v1/import-parts.ts'
import { followChunk, type StoredEntry } from '../../shared/v1/stored-chunk.ts'
import { findConnection } from '../client/connection.ts'
import { findMigrate, type UndoJSON } from '../client/migrate-client.ts'
import type { CommandHost } from '../host.ts'
import { collect } from './collect.ts'
import { describeImport, describeImports } from './import-text.ts'

export interface ImportOptions {
  json?: boolean
  data?: string
}

/** Entries fetched in one answer. */
const PAGE_ENTRIES = 250

const IMPORT_ID = /^[0-9a-f]{32}$/

/** An import by its id, or by the logs it is made of. */
async function importId(host: CommandHost, paths: readonly string[]): Promise<string> {
  const [first = ''] = paths
  if (paths.length === 1 && IMPORT_ID.test(first)) return first
  return (await collect(host, paths, { label: 'reading', uploader: null })).id
}

export async function showStatus(
  host: CommandHost,
  paths: readonly string[],
  options: ImportOptions,
): Promise<void> {
  const client = await findMigrate(host, options)
  if (paths.length === 0) {
    const imports = await client.list()
    host.stdout.write(options.json ? `${JSON.stringify({ imports })}\n` : describeImports(imports))
    return
  }
  const one = await client.get(await importId(host, paths))
  host.stdout.write(options.json ? `${JSON.stringify(one)}\n` : describeImport(one))
}

/** The report as it was stored, hashed again here. */
export async function showReport(
  host: CommandHost,
  paths: readonly string[],
  options: ImportOptions,
): Promise<void> {
  const client = await findMigrate(host, options)
  const { report, reportAddress, state } = await client.get(await importId(host, paths))
  if (report === null) throw new ImportStateError(`There is no report: the import is ${state}.`)
  await withDaemon(host, options, async (read) => {
    const text = String((await read([report]))[0])
    const what = { address: reportAddress, hash: report, report: JSON.parse(text) as object }
    host.stdout.write(`${JSON.stringify(what, null, options.json ? undefined : 2)}\n`)
  })
}

/** Takes back what an import brought; may be cut off and asked for again. */
export async function undoImport(
  host: CommandHost,
  paths: readonly string[],
  options: ImportOptions,
): Promise<void> {
  const client = await findMigrate(host, options)
  const id = await importId(host, paths)
  const total = { entries: 0, threadsRemoved: 0, threadsKept: 0, quarantined: 0 }
  for (;;) {
    const { done, ...some }: UndoJSON = await client.undo(id)
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += some[key]
    if (done) break
  }
  const { entries, threadsRemoved, threadsKept, quarantined } = total
  const kept = threadsKept > 0 ? `; ${threadsKept} threads stay, because others need them` : ''
  host.stdout.write(
    options.json
      ? `${JSON.stringify({ id, ...total })}\n`
      : `${id} is undone: ${entries} entries, ${threadsRemoved} threads, ${quarantined} parts that were set aside${kept}.\n`,
  )
}

/** Writes what was imported as NDJSON, one file for each chain, byte for byte as v1 wrote it. */
export async function exportImport(
  host: CommandHost,
  paths: readonly string[],
  options: ImportOptions & { output: string },
): Promise<void> {
  const client = await findMigrate(host, options)
  const id = await importId(host, paths)
  const chains = new Map<string, ImportChunk[]>()
  for (let after: number | null = 0; after !== null;) {
    const page = await client.chunks(id, after)
    for (const chunk of page.chunks) {
      const { log, author, genesis } = chunk
      const name = `${log}-${author}-${genesis.slice(0, 12)}.ndjson`
      chains.set(name, [...(chains.get(name) ?? []), chunk])
    }
    after = page.next
  }
  if (chains.size === 0) throw new ImportNotFoundError('Nothing was imported.')
  await mkdir(options.output, { recursive: true })
  await withDaemon(host, options, async (read) => {
    for (const [name, chunks] of chains) {
      const lines = async function* () {
        for (const chunk of chunks) {
          const stored = await fetchAll(await client.entries(id, chunk), read)
          for (const { bytes } of followChunk(chunk, stored)) yield `${bytes.toString()}\n`
        }
      }
      const file = join(options.output, name)
      await pipeline(Readable.from(lines()), createWriteStream(file), { signal: host.signal })
      host.stdout.write(`${file}\n`)
    }
  })
}

type ReadBlobs = (hashes: readonly string[]) => Promise<Buffer[]>

async function withDaemon(
  host: CommandHost,
  options: ImportOptions,
  use: (read: ReadBlobs) => Promise<void>,
): Promise<void> {
  const { nodes, token } = await findConnection(host, options.data)
  const daemon = new DaemonClient({ endpoints: nodes.map(({ http }) => http) })
  try {
    const call = { token, signal: host.signal }
    const one = async (hash: string) => {
      const { body } = await daemon.getBlob(hash, call)
      const bytes = Buffer.from(await body.arrayBuffer())
      if (hashBytes(bytes) !== hash) throw new HashMismatchError(`${hash} arrived changed.`)
      return bytes
    }
    await use(async (hashes) => {
      try {
        return (await daemon.getBlobs(hashes, call)).blobs
      } catch (error) {
        if (!(error instanceof RemoteError) || error.status !== 413) throw error
        // One of them is large: each by itself, one after the other, so that memory has a bound.
        return concurrently(hashes, 1, one)
      }
    })
  } finally {
    await daemon.close()
  }
}

async function fetchAll(
  entries: readonly { position: number; hash: string; blob: string }[],
  read: ReadBlobs,
): Promise<StoredEntry[]> {
  const stored: StoredEntry[] = []
  for (let from = 0; from < entries.length; from += PAGE_ENTRIES) {
    const some = entries.slice(from, from + PAGE_ENTRIES)
    const bytes = await read(some.map(({ blob }) => blob))
    some.forEach(({ position, hash }, place) => {
      stored.push({ position, hash, bytes: bytes[place]! })
    })
  }
  return stored
}
