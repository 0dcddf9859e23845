import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../cli/cli.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { createCommandHost } from '../helpers/command-host.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../helpers/memory-daemon.ts'

const CONTENT = 'content without a name\n'
const HASH = hashBytes(Buffer.from(CONTENT))

let daemon: MemoryDaemon
let token: string
let dir: string
let file: string

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  token = await daemon.tokens.create()
  dir = mkdtempSync(join(tmpdir(), 'bzzz-blob-'))
  file = join(dir, 'content.txt')
  writeFileSync(file, CONTENT)
})

afterAll(async () => {
  await daemon.close()
  rmSync(dir, { recursive: true })
})

async function bzzz(...args: string[]) {
  const env = { BZZZ_ENDPOINT: daemon.url, BZZZ_TOKEN: token, BZZZ_DATA: dir }
  const { host, stdout, stderr } = createCommandHost(env)
  const code = await runCli(args, host)
  return { code, out: stdout.text(), err: stderr.text() }
}

describe('bzzz blob', () => {
  it('stores a file, finds it, and writes it out again', async () => {
    const stored = await bzzz('blob', 'put', file)
    expect(stored).toMatchObject({ code: 0, out: `${HASH}  23 B  1 copy\n` })
    expect(await bzzz('blob', 'get', HASH)).toMatchObject({ code: 0, out: CONTENT })
    const stat = await bzzz('blob', 'stat', HASH, '--json')
    expect(JSON.parse(stat.out)).toEqual({ hash: HASH, size: 23, servedBy: daemon.peerId })
  })

  it('lists what a node holds, a page at a time', async () => {
    writeFileSync(file, 'another')
    await bzzz('blob', 'put', file)
    writeFileSync(file, CONTENT)
    await bzzz('blob', 'put', file)
    const first = JSON.parse((await bzzz('blob', 'ls', '--limit', '1', '--json')).out) as Page
    const rest = await bzzz('blob', 'ls', '--after', first.next!, '--json')
    const hashes = [...first.blobs, ...(JSON.parse(rest.out) as Page).blobs].map(({ hash }) => hash)
    expect(hashes).toEqual([HASH, hashBytes(Buffer.from('another'))].toSorted())
    expect((await bzzz('blob', 'ls', '--limit', '1')).out).toContain(`more: --after ${first.next}`)
  })

  it('pins and unpins', async () => {
    await bzzz('blob', 'put', file)
    const pinned = await bzzz('blob', 'pin', HASH, '--reason', 'for the audit', '--json')
    expect(JSON.parse(pinned.out)).toMatchObject({ hash: HASH, reason: 'for the audit' })
    expect((await bzzz('blob', 'unpin', HASH)).code).toBe(0)
    const again = await bzzz('blob', 'unpin', HASH)
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining('BZZZ_PIN_NOT_FOUND') })
  })

  it('says what is wrong in one line', async () => {
    const short = await bzzz('blob', 'get', '123')
    expect(short).toMatchObject({ code: 1, err: expect.stringContaining('BZZZ_HASH_INVALID') })
    const unknown = await bzzz('blob', 'get', '0'.repeat(64))
    expect(unknown.err).toContain('BZZZ_BLOB_NOT_FOUND')
    expect(unknown.err.trim().split('\n')).toHaveLength(1)
  })
})

interface Page {
  blobs: { hash: string }[]
  next: string | null
}

describe('bzzz scrub', () => {
  it('reads everything again and tells the result', async () => {
    await bzzz('blob', 'put', file)
    const { code, out } = await bzzz('scrub', '--json')
    expect(code).toBe(0)
    const { blobs } = await daemon.store.usage()
    expect(JSON.parse(out)).toMatchObject({ state: 'done', checked: blobs, bad: 0, failed: 0 })
    expect((await bzzz('scrub', '--status')).out).toMatch(/^state +done$/m)
  })
})

describe('bzzz gc', () => {
  it('deletes nothing in a dry run, and nothing within the grace', async () => {
    await bzzz('blob', 'put', file)
    const before = await daemon.store.usage()
    const dry = await bzzz('gc', '--dry-run', '--json')
    expect(JSON.parse(dry.out)).toMatchObject({ dryRun: true, outcome: 'done', deleted: 0 })
    const real = await bzzz('gc')
    expect(real.out).toMatch(/^deleted +0 blobs, 0 B$/m)
    expect(await daemon.store.usage()).toEqual(before)
  })
})

describe('bzzz node', () => {
  it('lists the nodes and refuses to drain the only one', async () => {
    const listed = JSON.parse((await bzzz('node', 'ls', '--json')).out) as {
      nodes: { peerId: string; state: string }[]
    }
    expect(listed.nodes).toMatchObject([{ peerId: daemon.peerId, state: 'live' }])
    const drained = await bzzz('node', 'drain', daemon.peerId)
    expect(drained).toMatchObject({
      code: 1,
      err: expect.stringContaining('BZZZ_NODE_NOT_DRAINED'),
    })
  })
})
