import { cp, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { holds, verifyLog, type ChainReport } from '../../../shared/v1/chain-report.ts'
import { withLogs } from '../../../shared/v1/log-source.ts'
import { v1Cores, v1Fixture, v1Manifest } from '../../helpers/v1-fixtures.ts'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bzzz-core-test-'))
})
afterAll(() => rm(dir, { recursive: true }))

function verify(folder: string, length: number | null = null): Promise<ChainReport[]> {
  const expected = { trustedHeads: [], length }
  return withLogs([folder], async (sources) => {
    const reports: ChainReport[] = []
    for (const source of sources) {
      reports.push(...(await verifyLog(source, expected, new AbortController().signal)))
    }
    return reports
  })
}

describe('hypercores', () => {
  it.each(v1Cores.cores)('verifies tree, signature and chain of $dir', async (core) => {
    const [report, ...more] = await verify(v1Fixture(core.dir), core.length)
    const { firstBad, reason } = core
    expect(more).toEqual([])
    expect(report).toMatchObject({
      entries: core.length,
      expectedLength: true,
      v1: { ok: firstBad === null, firstBadPosition: firstBad, reason },
      strict: { ok: firstBad === null, firstBadPosition: firstBad, reason },
      tree: {
        ok: !core.missing_blocks && core.tampered_block === undefined,
        key: core.key,
        length: core.length,
        byteLength: core.byteLength,
        fork: core.fork,
        treeHash: core.tree_hash,
        missing: core.missing_blocks ?? [],
        tampered: core.tampered_block === undefined ? [] : [core.tampered_block],
        signature: true,
      },
    })
    expect(holds(report!)).toBe(core.v1_chain === 'valid')
  })

  it('reads every core of a corestore', async () => {
    const reports = await verify(v1Fixture(v1Cores.corestore_dir.dir))
    const names = Object.values(v1Cores.corestore_dir.names)
    const keyed = <T extends { key: string }>(some: T[]) =>
      some.toSorted((a, b) => (a.key < b.key ? -1 : 1))
    expect(keyed(reports.map(({ tree }) => tree!))).toMatchObject(
      keyed(
        names.map(({ key, tree_hash: treeHash }) => ({ key, treeHash, ok: true, length: 300 })),
      ),
    )
    const heads = Object.values(v1Manifest.nodes).map(({ head_hash: head }) => head)
    expect(reports.map(({ headHash }) => headHash).toSorted()).toEqual(heads.toSorted())
    expect(reports.every(holds)).toBe(true)
  })

  it('changes nothing in the folder it was given', async () => {
    const folder = join(dir, 'untouched')
    await cp(v1Fixture('hypercore/acacia'), folder, { recursive: true })
    const before = await contents(folder)
    await verify(folder)
    expect(await contents(folder)).toEqual(before)
  })

  it('finds a core that was rolled back by its length only, and an empty one always', async () => {
    const folder = join(dir, 'cut')
    await cp(v1Fixture('hypercore/acacia'), folder, { recursive: true })
    const log = join(folder, 'db', '000004.log')
    const file = await open(log, 'r+')
    await file.truncate(600)
    await file.close()
    const outcome = await verify(folder, 300).catch((error: Error) => error)
    const reports = outcome instanceof Error ? [] : outcome
    expect(reports.some(holds)).toBe(false)
  })
})

async function contents(folder: string): Promise<Record<string, string>> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true })
  const entries = files
    .filter((file) => file.isFile())
    .map(async ({ parentPath, name }) => {
      const file = join(parentPath, name)
      return [file, (await readFile(file)).toString('base64')] as const
    })
  return Object.fromEntries(await Promise.all(entries))
}
