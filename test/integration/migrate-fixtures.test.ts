import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { MiB } from '../../shared/limits.ts'
import { RECORD_BYTES_MAX } from '../../shared/v1/constants.ts'
import { startImportCluster, type ImportCluster } from '../helpers/import-cluster.ts'
import { v1Cores, v1Fixture, v1Manifest, type V1Node } from '../helpers/v1-fixtures.ts'
import { sealV1 } from '../helpers/v1-log.ts'

interface Reported {
  verifiedFrom: string[]
  entries: number
  chains: { file: string; author: string; entries: number; head: string }[]
  quarantined: {
    records: number
    items: { file: string; position: number; records: number; reason: string; blob: string }[]
  }
}

let cluster: ImportCluster
let dir: string

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bzzz-fixtures-'))
  cluster = await startImportCluster()
})
afterAll(async () => {
  await cluster.stop()
  await rm(dir, { recursive: true })
})

/** Imports the logs as one import, and gives its signed report. */
async function importAll(logs: readonly string[]): Promise<Reported & { id: string }> {
  const { exitCode, out, err } = await cluster.migrate('run', '--json', ...logs)
  expect(err).toBe('')
  expect(exitCode).toBe(0)
  const { id } = JSON.parse(out) as { id: string }
  const report = await cluster.migrate('report', '--json', id)
  return { id, ...(JSON.parse(report.out) as { report: Reported }).report }
}

const { nodes, second_run: second, v1_emitted_only: emitted, benign, corrupt } = v1Manifest

/** Every whole log of the manifest, in each of its forms. */
const GOOD: [file: string, log: Pick<V1Node, 'author' | 'entries' | 'head_hash'>][] = [
  ...Object.entries(nodes).flatMap(([name, node]) =>
    ['ndjson', 'json', 'indent.json'].map((form): [string, V1Node] => [
      `valid/${name}.${form}`,
      node,
    ]),
  ),
  ...Object.entries(second).map(([name, node]): [string, V1Node] => [`valid/${name}.ndjson`, node]),
  ...Object.entries(emitted.nodes).map(([name, node]): [string, V1Node] => [
    `v1-emitted-only/${name}.ndjson`,
    node,
  ]),
  ...benign.map(({ file, ...log }): [string, Pick<V1Node, 'author' | 'entries' | 'head_hash'>] => [
    file,
    { ...log, author: nodes['walnut']!.author },
  ]),
]

describe('logs of v1 that are whole', () => {
  it('are imported whole in all their forms, each entry once', async () => {
    const files = GOOD.map(([file]) => v1Fixture(file))
    const report = await importAll(files)
    expect(report.quarantined).toMatchObject({ records: 0, items: [] })
    const imported = report.chains.map(({ file, author, entries, head }) => {
      return [file, author, entries, head]
    })
    expect(imported).toEqual(
      GOOD.map(([file, log]) => [v1Fixture(file), log.author, log.entries, log.head_hash]),
    )
    const authors = [nodes, second, emitted.nodes].flatMap((some) => Object.values(some))
    const found = await cluster.query(
      `select author, type, count(*)::int as n from v1_entries group by author, type`,
    )
    const threads = await cluster.query(
      `select author, count(distinct coalesce(task, path))::int as n
       from v1_entries join v1_threads on key = thread where project <> 'v1-logs' group by author`,
    )
    for (const { author, by_type: byType, threads: count } of authors) {
      const own = found.filter((row) => row['author'] === author)
      expect(Object.fromEntries(own.map(({ type, n }) => [type, n])), author).toEqual(byType)
      expect(threads.find((row) => row['author'] === author)?.['n'], author).toBe(count)
    }
    expect(found).toHaveLength(authors.flatMap((one) => Object.keys(one.by_type)).length)
    // Every form of a log gives the bytes that v1 hashed.
    const output = join(dir, 'good')
    expect((await cluster.migrate('export', report.id, '--output', output)).exitCode).toBe(0)
    for (const file of await readdir(output)) {
      const [log, author] = basename(file).split('-')
      const [name] = GOOD[Number(log)]!
      const node = Object.keys(nodes).find((each) => nodes[each]!.author === author)
      const origin = node === undefined ? name : `valid/${node}.ndjson`
      const [ours, theirs] = await Promise.all([
        readFile(join(output, file)),
        readFile(v1Fixture(origin)),
      ])
      expect(ours.equals(theirs), file).toBe(true)
    }
  })
})

describe('logs of v1 that are not', () => {
  it('are imported up to the first bad position, the rest is set aside with its bytes', async () => {
    const before = await cluster.contents()
    const files = corrupt.map(({ file }) => v1Fixture(file))
    const plan = await cluster.migrate('plan', '--json', ...files)
    const { chains } = JSON.parse(plan.out) as {
      chains: { file: string; v1: object; strict: object }[]
    }
    const rule = ({ ok, first_bad_position: firstBadPosition, reason }: Rule) => {
      return { ok, firstBadPosition, reason: reason ?? null }
    }
    expect(chains).toMatchObject(
      corrupt.map(({ file, v1_VerifyIntegrity: v1, strict }) => ({
        file: v1Fixture(file),
        v1: rule(v1),
        strict: rule(strict),
      })),
    )
    const { id, chains: imported, quarantined } = await importAll(files)
    for (const { file, lines, strict } of corrupt) {
      const good = imported.filter((chain) => chain.file === v1Fixture(file))
      const whole = good.reduce((sum, { entries }) => sum + entries, 0)
      expect(whole, file).toBe(strict.entries_before_it)
      const bad = quarantined.items.filter((item) => item.file === v1Fixture(file))
      const first = bad.toSorted((a, b) => a.position - b.position)[0]
      expect(first?.position ?? null, file).toBe(strict.first_bad_position)
      expect(first?.reason, file).toBe(strict.reason)
      expect(
        bad.reduce((sum, { records }) => sum + records, 0),
        file,
      ).toBe(lines - whole)
    }
    const { blob } = quarantined.items.find(({ reason }) => reason === 'not_a_log_entry')!
    const headers = { authorization: `Bearer ${cluster.env['BZZZ_TOKEN']}` }
    const raw = await fetch(`${cluster.daemonURL}/v1/blobs/${blob}`, { headers })
    const log = await readFile(v1Fixture('corrupt/json-not-entry.ndjson'), 'utf8')
    expect(await raw.text()).toBe(`${log.split('\n')[224]}\n`)
    const pins = async () => {
      const answer = await fetch(`${cluster.daemonURL}/v1/pins?limit=500`, { headers })
      return ((await answer.json()) as { pins: { hash: string }[] }).pins.map(({ hash }) => hash)
    }
    expect(await pins()).toContain(blob)
    const strict = await cluster.migrate('run', '--strict', files[0]!)
    expect(strict).toMatchObject({ exitCode: 1, err: expect.stringContaining('V1_LOG_BROKEN') })
    // What this import brought goes again, and nothing of the other one.
    expect((await cluster.migrate('undo', '--json', id)).exitCode).toBe(0)
    const after = await cluster.contents()
    expect(after.entries).toEqual(before.entries)
    expect(after.quarantine).toEqual([])
    expect(after.messages).toEqual(expect.arrayContaining(before.messages))
    expect(await pins()).toEqual([])
  })
})

describe('hypercores with logs of v1', () => {
  it('are imported as far as their tree and their chain hold', async () => {
    const { cores, corestore_dir: store } = v1Cores
    const folders = [...cores.map((core) => core.dir), store.dir]
    const { chains, quarantined } = await importAll(folders.map(v1Fixture))
    for (const core of cores) {
      const file = `${v1Fixture(core.dir)}#${core.key}`
      const [chain, ...more] = chains.filter((one) => one.file === file)
      const items = quarantined.items.filter((item) => item.file === file)
      const firstBad = core.firstBad ?? core.length
      expect(more).toEqual([])
      expect(chain?.entries, core.dir).toBe(firstBad)
      expect(items[0]?.position ?? core.length, core.dir).toBe(firstBad)
      expect(items[0]?.reason ?? null, core.dir).toBe(core.reason)
      expect(items.reduce((sum, { records }) => sum + records, 0)).toBe(core.length - firstBad)
    }
    const stored = Object.entries(store.names).map(([name, { key }]) => {
      const { author, entries, head_hash: head } = nodes[basename(name)]!
      return { file: `${v1Fixture(store.dir)}#${key}`, author, entries, head }
    })
    expect(chains).toEqual(
      expect.arrayContaining(stored.map((one) => expect.objectContaining(one))),
    )
  })
})

describe('hostile logs', () => {
  const HOSTILE = `12D3KooW${'h'.repeat(44)}`
  const chainOf = (entries: readonly [type: string, data: string][]) => {
    let prevHash = ''
    return entries.map(([type, data], index) => {
      const at = { index, timestamp: '2025-10-04T09:47:42Z', author: HOSTILE, prevHash }
      const { text, hash } = sealV1({ ...at, type, data })
      prevHash = hash
      return text
    })
  }

  it('are imported as far as they are entries, and harm nothing', async () => {
    const deep = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
    const lines = chainOf([
      ['task_claimed', '{"repository":"../../etc/passwd","task_id":1}'],
      ['task_progress', '{"__proto__":{"task_id":7},"constructor":{"prototype":1},"task_id":1}'],
      ['task_progress', '{"task_id":9007199254740993}'],
      ['t\0', '{"command":"a\\u0000b","msg_id":"a\\u0000","parent_id":"\\ud800"}'],
      ['collaboration', '{"session_id":"../../../\\u0000/%2e%2e"}'],
      // Larger than what a batch takes.
      ['task_progress', `{"command":"${'x'.repeat(2 * MiB)}","task_id":1}`],
      ['task_progress', deep(9_000)],
    ])
    const [short = ''] = chainOf([['task_progress', '{"command":"#"}']])
    const bad: [reason: string, bytes: string][] = [
      ['too_long', `${'y'.repeat(RECORD_BYTES_MAX + 1)}\n`],
      ['too_deep', chainOf([['task_progress', deep(100_000)]])[0]!],
      ['invalid_utf8', short.replace('#', '\u00ff')],
    ]
    const good = join(dir, 'hostile.ndjson')
    await writeFile(good, `${lines.join('\n')}\n`)
    const files = bad.map(([reason]) => join(dir, `${reason}.ndjson`))
    for (const [at, [, text]] of bad.entries()) await writeFile(files[at]!, text, 'latin1')
    const before = await cluster.contents()
    const { id, chains, quarantined } = await importAll([good, ...files])
    expect(chains).toMatchObject([{ file: good, entries: lines.length }])
    expect(Object.fromEntries(quarantined.items.map(({ file, reason }) => [file, reason]))).toEqual(
      Object.fromEntries(bad.map(([reason], at) => [files[at]!, reason])),
    )
    const addresses = await cluster.query(
      `select distinct address from thread_messages join threads on threads.id = thread_id
       where body like '%' || $1 || '%' order by 1`,
      [HOSTILE],
    )
    expect(addresses.map(({ address }) => address)).toEqual([
      expect.stringMatching(/^bzzz:\/\/v1@v1-logs\/chain\/12D3/),
      expect.stringMatching(/^bzzz:\/\/v1@v1-repository-[0-9a-f]{24}:1\/thread$/),
      expect.stringMatching(/^bzzz:\/\/v1@v1-sessions\/session\/text-[0-9a-f]{24}$/),
    ])
    // The functions run in this process.
    expect(({} as { task_id?: number }).task_id).toBe(undefined)
    const output = join(dir, 'hostile')
    expect((await cluster.migrate('export', id, '--output', output)).exitCode).toBe(0)
    const [file] = await readdir(output)
    expect((await readFile(join(output, file!))).equals(await readFile(good))).toBe(true)
    expect((await cluster.migrate('undo', id)).exitCode).toBe(0)
    expect((await cluster.contents()).entries).toEqual(before.entries)
  })
})

type Rule = (typeof corrupt)[number]['strict']
