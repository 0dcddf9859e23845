import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startImportCluster, type ImportCluster } from '../helpers/import-cluster.ts'
import { v1Fixture, v1Manifest } from '../helpers/v1-fixtures.ts'

interface ImportOut {
  id: string
  state: string
  entries: { total: number; done: number; verified: number }
  threads: { total: number; done: number }
  quarantined: { records: number }
  report: string
  reportAddress: string
}

const MERGED = v1Fixture(v1Manifest.merged.file)

let cluster: ImportCluster
let dir: string

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bzzz-import-'))
  cluster = await startImportCluster()
})
afterAll(async () => {
  await cluster.stop()
  await rm(dir, { recursive: true })
})

async function run(...args: string[]): Promise<ImportOut> {
  const { exitCode, out, err } = await cluster.migrate('run', '--json', ...args)
  expect(err).toBe('')
  expect(exitCode).toBe(0)
  return JSON.parse(out) as ImportOut
}

function counted(rows: readonly Record<string, unknown>[], column: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const row of rows) counts[String(row[column])] = (counts[String(row[column])] ?? 0) + 1
  return counts
}

describe('bzzz migrate v1', () => {
  it('imports three chains whole, with the counts, threads and heads that Go found', async () => {
    const done = await run(MERGED)
    expect(done).toMatchObject({
      state: 'done',
      entries: { total: 900, done: 900, verified: 900 },
      quarantined: { records: 0 },
    })
    const { entries, messages } = await cluster.contents()
    expect(counted(entries, 'type')).toEqual(v1Manifest.totals.by_type)
    for (const { author, head_hash: head } of Object.values(v1Manifest.nodes)) {
      const chain = entries.filter((entry) => entry['author'] === author)
      expect(chain).toHaveLength(300)
      expect(chain.find(({ position }) => position === '299')?.['hash']).toBe(head)
    }
    const issues = await cluster.query(
      `select title, count(*)::int as n from v1_entries join v1_threads on key = thread
       where task is not null group by title`,
    )
    const byRepository = Object.fromEntries(
      issues.map(({ title, n }) => [String(title).replace('v1-unknown', 'unknown'), n]),
    )
    expect(byRepository).toEqual(v1Manifest.totals.threads_by_repo)
    const byTopic = await cluster.query(
      `select coalesce('issue/' || task, path) as topic, count(*)::int as n
       from v1_entries join v1_threads on key = thread where project <> 'v1-logs' group by 1`,
    )
    expect(Object.fromEntries(byTopic.map(({ topic, n }) => [topic, n]))).toEqual(
      v1Manifest.totals.threads_by_topic,
    )
    // Every entry is one message, which links to its blob, and to what it answers.
    const linked = messages.map(({ body }) => JSON.parse(String(body)) as Message)
    expect(linked.map(({ contentHash }) => contentHash).toSorted()).toEqual(
      entries.map(({ blob }) => String(blob)).toSorted(),
    )
    expect(linked.filter(({ refs }) => refs.length > 0)).toHaveLength(
      v1Manifest.totals.meta_messages['replies']!,
    )
  })

  it('changes nothing when it is run again', async () => {
    const before = await cluster.contents()
    const imports = await cluster.query('select * from v1_imports')
    await run(MERGED)
    expect(await cluster.contents()).toEqual(before)
    expect(await cluster.query('select * from v1_imports')).toEqual(imports)
  })

  it('exports what was imported byte for byte', async () => {
    const output = join(dir, 'exported')
    const { exitCode } = await cluster.migrate('export', MERGED, '--output', output)
    expect(exitCode).toBe(0)
    const files = await readdir(output)
    expect(files).toHaveLength(3)
    for (const [name, { author }] of Object.entries(v1Manifest.nodes)) {
      const file = files.find((one) => one.includes(author))!
      const [exported, original] = await Promise.all([
        readFile(join(output, file)),
        readFile(v1Fixture(`valid/${name}.ndjson`)),
      ])
      expect(exported.equals(original)).toBe(true)
    }
  })

  it('leaves a signed report under an address', async () => {
    const { out } = await cluster.migrate('report', '--json', MERGED)
    const { address, hash, report } = JSON.parse(out) as {
      address: string
      hash: string
      report: {
        verifiedFrom: string[]
        entries: number
        chains: { author: string; head: string; entries: number }[]
      }
    }
    const heads = Object.values(v1Manifest.nodes).map(
      ({ author, head_hash: head }) => `${author} ${head}`,
    )
    expect(report.chains.map(({ author, head }) => `${author} ${head}`).toSorted()).toEqual(
      heads.toSorted(),
    )
    const answer = await fetch(
      `${cluster.daemonURL}/v1/resolve?address=${encodeURIComponent(address)}`,
      { headers: { authorization: `Bearer ${cluster.env['BZZZ_TOKEN']}` } },
    )
    const { record } = (await answer.json()) as {
      record: { hash: string; signature: string; author: string }
    }
    expect(report.verifiedFrom).toEqual([record.author])
    expect(record.hash).toBe(hash)
    expect(record.signature).not.toBe('')
  })

  it('still knows what v1 called things', async () => {
    const [node] = Object.values(v1Manifest.nodes)
    const { author, head_hash: head } = node!
    const log = await readFile(
      v1Fixture(`valid/${Object.keys(v1Manifest.nodes)[0]}.ndjson`),
      'utf8',
    )
    const last = log.trim().split('\n').at(-1)
    const short = encodeURIComponent(`<peer.ID 12*${author.slice(-6)}>`)
    for (const name of [`${author}/299`, `${short}/299`, head]) {
      const answer = await cluster.resolve(name)
      expect(await answer.text(), name).toBe(last)
      expect(answer.headers.get('bzzz-address')).toMatch(new RegExp(`^bzzz://v1@.*#${head}$`))
    }
    const record = await (await cluster.resolve(`${author}/299?record`)).json()
    expect(record).toMatchObject({ content: expect.stringMatching(/^bzzz:..b3.[0-9a-f]{64}$/) })
    expect((await cluster.resolve(`${author}/300`)).status).toBe(404)
    // v1 did not tell repositories apart; some numbers are in one only.
    const topics = await cluster.query(
      'select topic, count(*)::int as n from v1_threads where topic is not null group by topic',
    )
    for (const wanted of [1, 2]) {
      const { topic } = topics.find(({ n }) => n === wanted)!
      const answer = await cluster.resolve(String(topic))
      expect(answer.status).toBe(wanted === 1 ? 200 : 300)
      const body = (await answer.json()) as { thread?: string; choices?: { address: string }[] }
      expect(body.choices?.length ?? 1).toBe(wanted)
      if (wanted === 1) expect(body.thread).toBe(answer.headers.get('bzzz-address'))
    }
    expect((await cluster.resolve('bzzz/meta/issue/999999')).status).toBe(404)
  })

  it('goes on where it was when the command is cut off and asked again', async () => {
    const file = v1Fixture('valid/walnut-run2.ndjson')
    expect(await cluster.interrupt('run', file)).toBe(130)
    const done = await run(file)
    expect(done.entries).toEqual({ total: 100, done: 100, verified: 100 })
    const { head_hash: head, author } = v1Manifest.second_run['walnut-run2']!
    const rows = await cluster.query(
      'select hash from v1_entries where author = $1 order by position desc limit 1',
      [author],
    )
    expect(rows).toEqual([{ hash: head }])
  })

  it('takes overlapping imports at once, without doubles and without loss', async () => {
    const [name, node] = Object.entries(v1Manifest.v1_emitted_only.nodes)[0]!
    const log = await readFile(v1Fixture(`v1-emitted-only/${name}.ndjson`), 'utf8')
    const part = join(dir, 'part.ndjson')
    const whole = join(dir, 'whole.json')
    const lines = log.trim().split('\n')
    await writeFile(part, lines.slice(0, 60).join('\n'))
    await writeFile(whole, `[${lines.join(',\n')}]`)
    await Promise.all([run(part), run(whole)])
    const rows = await cluster.query(
      'select position::int as position from v1_entries where author = $1 order by position',
      [node.author],
    )
    expect(rows.map(({ position }) => position)).toEqual(lines.map((_, index) => index))
    const messages = await cluster.query(
      `select hash from thread_messages where body like '%' || $1 || '%'`,
      [node.author],
    )
    expect(messages).toHaveLength(lines.length)
    // Of the one nothing goes that the other one needs.
    await cluster.migrate('undo', whole)
    const left = await cluster.query('select hash from v1_entries where author = $1', [node.author])
    expect(left).toHaveLength(60)
    await cluster.migrate('undo', part)
    const none = await cluster.query('select hash from v1_entries where author = $1', [node.author])
    expect(none).toEqual([])
    expect((await run(whole)).entries.verified).toBe(100)
  })

  it('names hosts by a file, and tells what would come without a node', async () => {
    const node = v1Manifest.v1_emitted_only.nodes['ironwood']!
    const hosts = join(dir, 'hosts.json')
    await writeFile(
      hosts,
      JSON.stringify({ [`<peer.ID 12*${node.author.slice(-6)}>`]: 'ironwood' }),
    )
    const file = join(dir, 'ironwood.ndjson')
    await copyFile(v1Fixture('v1-emitted-only/ironwood.ndjson'), file)
    const plan = await cluster.migrate('plan', '--json', '--hosts', hosts, file)
    expect(JSON.parse(plan.out)).toMatchObject({
      entries: 100,
      byType: node.by_type,
      byAuthor: { [node.author]: 100 },
      hosts: { [node.author]: 'ironwood' },
      quarantined: {},
    })
    await run('--hosts', hosts, file)
    const authors = await cluster.query(
      `select distinct author from thread_messages where body like '%"author":"ironwood"%'`,
    )
    expect(authors).toEqual([{ author: 'ironwood' }])
  })
})

interface Message {
  contentHash: string
  refs: string[]
}
