import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../cli/cli.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { recordHash, type AddressRecord } from '../../shared/record/record.ts'
import { createCommandHost } from '../helpers/command-host.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../helpers/memory-daemon.ts'
import { makeRecord } from '../helpers/record.ts'

const FORKED = 'bzzz://writer@apollo/forked.md'

let daemon: MemoryDaemon
let ends: AddressRecord[]
let token: string

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  token = await daemon.tokens.create()
  for (const address of ['a@apollo/plans/x', 'a:lead@apollo:t1/plans/y', 'b@gemini/x']) {
    await put(address)
  }
  ends = [1, 2].map((n) =>
    makeRecord({ address: FORKED, version: 1, timestampMs: 1_700_000_000_000 + n }),
  )
  for (const end of ends) daemon.records.add(end)
  ends = daemon.records.ends(FORKED, 10)
})

afterAll(() => daemon.close())

async function put(address: string): Promise<void> {
  const headers = { authorization: `Bearer ${token}` }
  await fetch(`${daemon.url}/v1/blobs`, { method: 'PUT', body: address, headers })
  const answer = await fetch(`${daemon.url}/v1/addresses?address=${address}`, {
    method: 'PUT',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ hash: hashBytes(Buffer.from(address)), mediaType: 'text/plain' }),
  })
  expect(answer.status).toBe(201)
}

async function run(args: string[], by = token) {
  const env = { BZZZ_ENDPOINT: daemon.url, BZZZ_TOKEN: by, BZZZ_DATA: '/nonexistent' }
  const { host, stdout, stderr } = createCommandHost(env)
  const exitCode = await runCli(args, host)
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() }
}

async function listed(args: string[], by = token): Promise<string[]> {
  const { stdout, stderr } = await run(['ls', '--json', ...args], by)
  expect(stderr).toBe('')
  const { records } = JSON.parse(stdout) as { records: { address: string }[] }
  return records.map(({ address }) => address)
}

describe('bzzz ls', () => {
  const everything = [
    'bzzz://a:lead@apollo:t1/plans/y',
    'bzzz://a@apollo/plans/x',
    'bzzz://b@gemini/x',
    FORKED,
  ]

  it('lists what a search finds', async () => {
    expect(await listed([])).toEqual(everything)
    expect(await listed(['bzzz://*@apollo/**'])).toEqual([everything[1], FORKED])
    expect(await listed(['*:*@*:*/plans/'])).toEqual(everything.slice(0, 2))
    expect((await run(['find', 'b@*/x'])).stdout).toMatch(/^ADDRESS .*\nbzzz:\/\/b@gemini\/x  1  /)
    expect((await run(['ls', 'nobody@*/'])).stdout).toBe('There are no such addresses.\n')
  })

  it('goes on where the last page ended', async () => {
    const first = await run(['ls', '--limit', '2'])
    expect(first.stdout).toContain(`more: --after ${everything[1]}\n`)
    expect(await listed(['--after', everything[1]!])).toEqual(everything.slice(2))
  })

  it('shows no project that the token does not cover', async () => {
    const narrow = await daemon.tokens.create({ projects: ['gem*'] })
    expect(await listed([], narrow)).toEqual(['bzzz://b@gemini/x'])
    expect(await listed(['*@apollo/'], narrow)).toEqual([])
    const conflicts = await run(['conflicts'], narrow)
    expect(conflicts.stdout).toBe('There are no conflicts.\n')
  })

  it('says what is wrong with a search', async () => {
    const { exitCode, stderr } = await run(['ls', 'a@b/*/c'])
    expect(exitCode).toBe(1)
    expect(stderr).toContain('BZZZ_ADDRESS_INVALID')
  })
})

describe('bzzz conflicts and merge', () => {
  it('shows the ends, picks one and has no conflict left', async () => {
    const [, loser] = ends as [AddressRecord, AddressRecord]
    const shown = await run(['conflicts', '--project', 'apollo'])
    expect(shown.stdout).toContain(`${FORKED}  1  `)
    expect(shown.stdout).toContain(recordHash(loser).slice(0, 12))
    expect((await run(['conflicts', '--project', 'gemini'])).stdout).toContain('no conflicts')

    const pick = recordHash(loser).slice(0, 12)
    const stale = await run(['merge', FORKED, '--pick', pick, '--if-version', '2'])
    expect(stale.stderr).toContain('BZZZ_VERSION_CONFLICT')
    const narrow = await daemon.tokens.create({ projects: ['gemini'] })
    expect((await run(['merge', FORKED, '--pick', pick], narrow)).stderr).toContain('SCOPE')
    const merged = await run(['merge', FORKED, '--pick', pick])
    expect(merged.stdout).toBe(`${FORKED}\n  version  2\n  content  bzzz://b3/${loser.hash}\n`)
    expect((await run(['conflicts'])).stdout).toBe('There are no conflicts.\n')
    const again = await run(['merge', FORKED, '--pick', pick])
    expect(again.stderr).toContain('BZZZ_ADDRESS_NOT_FORKED')
  })
})
