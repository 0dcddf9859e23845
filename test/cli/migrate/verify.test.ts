import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../../cli/cli.ts'
import { createCommandHost } from '../../helpers/command-host.ts'
import { v1Fixture, v1Manifest } from '../../helpers/v1-fixtures.ts'

type Rule = (typeof v1Manifest.corrupt)[number]['strict']

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bzzz-verify-'))
})
afterAll(() => rm(dir, { recursive: true }))

async function verify(...args: string[]) {
  const { host, stdout, stderr } = createCommandHost({})
  const exitCode = await runCli(['migrate', 'v1', 'verify', ...args], host)
  return { exitCode, out: stdout.text(), err: stderr.text() }
}

function lines(text: string): Record<string, unknown>[] {
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('bzzz migrate v1 verify', () => {
  it('prints a line for each chain and exits with 0 when all holds', async () => {
    const file = v1Fixture('valid/merged.ndjson')
    const { exitCode, out } = await verify('--json', file)
    expect(exitCode).toBe(0)
    const rule = { ok: true, firstBadPosition: null, reason: null }
    expect(lines(out)).toHaveLength(3)
    for (const line of lines(out)) {
      const node = Object.values(v1Manifest.nodes).find(({ author }) => author === line['author'])
      expect(line).toMatchObject({
        file,
        entries: 300,
        headHash: node?.head_hash,
        v1: rule,
        strict: rule,
      })
    }
  })

  it.each(v1Manifest.corrupt)('tells by its exit code whether $file holds', async (expected) => {
    const file = v1Fixture(expected.file)
    const { exitCode, out } = await verify('--json', file)
    expect(exitCode).toBe(expected.strict.ok ? 0 : 1)
    const rule = ({ ok, first_bad_position: firstBadPosition, reason }: Rule) => {
      return { ok, firstBadPosition, reason: reason ?? null }
    }
    const { v1_VerifyIntegrity: v1, strict } = expected
    expect(lines(out)).toMatchObject([{ v1: rule(v1), strict: rule(strict) }])
    const { trusted_head_hash: head } = v1Manifest.corrupt_base
    const outside = await verify(file, '--trusted-head', head, '--expect-length', '300')
    expect(outside.exitCode).toBe(1)
  })

  it('accepts the log itself by its trusted head and length', async () => {
    const file = v1Fixture(v1Manifest.corrupt_base.file)
    const { trusted_head_hash: head } = v1Manifest.corrupt_base
    expect((await verify(file, '--trusted-head', head, '--expect-length', '300')).exitCode).toBe(0)
    expect((await verify(file, '--expect-length', '299')).exitCode).toBe(1)
    expect((await verify(file, '--trusted-head', 'nonsense')).exitCode).toBe(2)
  })

  it('reads folders, and says what is missing', async () => {
    const { exitCode, out } = await verify(v1Fixture('benign'))
    expect(exitCode).toBe(0)
    expect(out.match(/holds/g)).toHaveLength(2 * v1Manifest.benign.length)
    expect((await verify(join(dir, 'nothing'))).err).toContain('BZZZ_V1_LOG_NOT_FOUND')
    expect((await verify(dir)).err).toContain('BZZZ_V1_LOG_NOT_FOUND')
    await writeFile(join(dir, 'empty.ndjson'), '')
    expect((await verify(dir)).exitCode).toBe(0)
    expect((await verify(dir, '--expect-length', '1')).exitCode).toBe(1)
  })
})
