import { setTimeout as sleep } from 'node:timers/promises'

import { ImportStateError, LogBrokenError } from '../../shared/errors.ts'
import {
  unmetBy,
  verifyLog,
  type ChainReport,
  type Expectation,
} from '../../shared/v1/chain-report.ts'
import { withLogs } from '../../shared/v1/log-source.ts'
import { findMigrate, type ImportJSON, type MigrateClient } from '../client/migrate-client.ts'
import type { CommandHost } from '../host.ts'
import { collect } from './collect.ts'
import { createEntriesBar, type EntriesBar } from './entries-bar.ts'
import { readHosts } from './hosts.ts'
import { describeImport } from './import-text.ts'
import { refuseProblems } from './plan.ts'
import { withUploader } from './uploader.ts'

export interface RunOptions {
  json?: boolean
  data?: string
  hosts?: string
  strict?: boolean
  trustedHead: readonly string[]
  expectLength?: number
}

/** Items sent at once, as the function takes them. */
const ITEMS_PER_CALL = 500

/** How often an import that runs is asked how far it is; a person sees no difference below. */
const POLL_MS = 500

/**
 * Imports logs: sends what they are made of, then follows the jobs. It may be interrupted at any
 * time: before the jobs run nothing is imported, afterwards they go on without it.
 */
export async function runImport(
  host: CommandHost,
  paths: readonly string[],
  options: RunOptions,
): Promise<void> {
  const hostOf = await readHosts(options.hosts)
  const client = await findMigrate(host, options)
  await checkFirst(host, paths, options)
  const collected = await withUploader(host, options, (uploader) =>
    collect(host, paths, { label: 'sending', uploader }),
  )
  const { id, files, chunks, quarantine, counts } = collected
  const authors = Object.keys(counts.byAuthor)
  const hosts = Object.fromEntries(
    authors.flatMap((author) => {
      const name = hostOf(author)
      return name === null ? [] : [[author, name]]
    }),
  )
  const { state } = await client.register({ id, files, hosts })
  if (state !== 'done') {
    for (const page of pages(chunks)) await client.addChunks(id, page)
    for (const page of pages(quarantine)) await client.addQuarantine(id, page)
    await client.start(id)
  }
  const done = await follow(host, client, id)
  host.stdout.write(options.json ? `${JSON.stringify(done)}\n` : describeImport(done))
}

/** What was asked to hold is looked at before anything is sent. @throws LogBrokenError */
async function checkFirst(
  host: CommandHost,
  paths: readonly string[],
  options: RunOptions,
): Promise<void> {
  const { strict, trustedHead: trustedHeads, expectLength } = options
  if (strict) {
    const { counts } = await collect(host, paths, { label: 'checking', uploader: null })
    refuseProblems(counts, { strict })
  }
  if (trustedHeads.length === 0 && expectLength === undefined) return
  const expected: Expectation = { trustedHeads, length: expectLength ?? null }
  const reports: ChainReport[] = []
  await withLogs(paths, async (sources) => {
    for (const source of sources) reports.push(...(await verifyLog(source, expected, host.signal)))
  })
  const unmet = unmetBy(reports, expected)
  if (unmet !== null) throw new LogBrokenError(unmet)
}

/** Until it is done. @throws ImportStateError when its jobs have failed for good */
async function follow(host: CommandHost, client: MigrateClient, id: string): Promise<ImportJSON> {
  let bar: EntriesBar | null = null
  try {
    for (;;) {
      const state = await client.get(id)
      if (state.state === 'done') return state
      if (state.problem !== null) {
        throw new ImportStateError(`The import ${id} stopped: ${state.problem}`)
      }
      if (state.state !== 'running') throw new ImportStateError(`The import is ${state.state}.`)
      const done = progressOf(state)
      bar ??= createEntriesBar(host.stderr, 'importing', done)
      bar.update(done.entries, done.fraction)
      await sleep(POLL_MS, undefined, { signal: host.signal })
    }
  } finally {
    bar?.stop()
  }
}

/** Three passes over the entries, stored, in threads, verified: a third of an entry with each. */
function progressOf({ entries, threads }: ImportJSON): { entries: number; fraction: number } {
  const inThreads = threads.total > 0 ? (entries.total * threads.done) / threads.total : 0
  const done = (entries.done + inThreads + entries.verified) / 3
  return { entries: Math.floor(done), fraction: done / (entries.total || 1) }
}

function pages<T>(items: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(items.length / ITEMS_PER_CALL) }, (_, page) =>
    items.slice(page * ITEMS_PER_CALL, (page + 1) * ITEMS_PER_CALL),
  )
}
