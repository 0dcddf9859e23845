import { describe, expect, it } from 'vitest'

import { LogChecker } from '../../../shared/v1/log-checker.ts'
import { readLogFile } from '../../../shared/v1/log-file.ts'
import { RecordSplitter } from '../../../shared/v1/record-splitter.ts'
import { v1Fixture, v1Manifest } from '../../helpers/v1-fixtures.ts'
import { sealV1, v1Log, V1_AUTHOR } from '../../helpers/v1-log.ts'

async function check(name: string): Promise<LogChecker> {
  const checker = new LogChecker()
  for await (const batch of readLogFile(v1Fixture(name), new AbortController().signal)) {
    for (const record of batch) checker.check(record)
  }
  return checker
}

function checkText(text: string | Buffer): LogChecker {
  const checker = new LogChecker()
  const splitter = new RecordSplitter()
  for (const record of splitter.push(Buffer.from(text))) checker.check(record)
  for (const record of splitter.end()) checker.check(record)
  return checker
}

const nodes = Object.entries(v1Manifest.nodes)

describe('log checker, on logs that are whole', () => {
  const files = [
    ...nodes.flatMap(([name, node]) =>
      ['ndjson', 'json', 'indent.json'].map((form) => [`valid/${name}.${form}`, node] as const),
    ),
    ...Object.entries(v1Manifest.second_run).map(
      ([name, node]) => [`valid/${name}.ndjson`, node] as const,
    ),
    ...Object.entries(v1Manifest.v1_emitted_only.nodes).map(
      ([name, node]) => [`v1-emitted-only/${name}.ndjson`, node] as const,
    ),
  ]
  it.each(files)('accepts %s', async (file, node) => {
    const [chain, ...more] = (await check(file)).chains
    expect(more).toEqual([])
    expect(chain).toMatchObject({
      author: node.author,
      length: node.entries,
      genesisHash: node.genesis_hash,
      headHash: node.head_hash,
      v1: { ok: true, goodEntries: node.entries },
      strict: { ok: true, goodEntries: node.entries, goodHeadHash: node.head_hash },
    })
  })

  it.each(v1Manifest.benign)('accepts $file', async ({ file, entries, head_hash: head }) => {
    const [chain, ...more] = (await check(file)).chains
    expect(more).toEqual([])
    expect(chain).toMatchObject({ length: entries, headHash: head, strict: { ok: true } })
  })

  it('keeps the chains of a merged file apart', async () => {
    const { chains } = await check(v1Manifest.merged.file)
    expect(new Set(chains.map(({ headHash }) => headHash))).toEqual(
      new Set(nodes.map(([, node]) => node.head_hash)),
    )
    expect(chains.every(({ strict, length }) => strict.ok && length === 300)).toBe(true)
  })
})

describe('log checker, on logs that are not', () => {
  it.each(v1Manifest.corrupt)('finds the first bad position of $file', async (expected) => {
    const [chain, ...more] = (await check(expected.file)).chains
    const rule = (one: typeof expected.strict) => ({
      ok: one.ok,
      firstBadPosition: one.first_bad_position,
      reason: one.reason ?? null,
      goodEntries: one.entries_before_it,
    })
    expect(more).toEqual([])
    expect(chain).toMatchObject({
      length: expected.lines,
      headHash: expected.head_hash_in_file,
      v1: rule(expected.v1_VerifyIntegrity),
      strict: rule(expected.strict),
    })
    const trusted = v1Manifest.corrupt_base.trusted_head_hash
    expect(chain?.headHash === trusted).toBe(expected.head_equals_trusted)
  })

  it('gives what nobody can read to no chain where there are several', () => {
    const lines = [...v1Log({ entries: 3 })]
    const others = [...v1Log({ entries: 2, author: 'other' })]
    const { chains } = checkText([...lines, ...others, 'panic: x'].join('\n'))
    expect(chains.map(({ author, length, strict }) => [author, length, strict.ok])).toEqual([
      [V1_AUTHOR, 3, true],
      ['other', 2, true],
      [null, 1, false],
    ])
  })

  it('reads no entry from what only looks like one', () => {
    const [good = ''] = v1Log({ entries: 1 })
    const index = (text: string) =>
      checkText(good.replace('"index":0', `"index":${text}`)).chains[0]
    expect(checkText(good).chains[0]?.strict.ok).toBe(true)
    expect(index('-1')?.v1.reason).toBe('not_a_log_entry')
    expect(index('0.5')?.v1.reason).toBe('not_a_log_entry')
    expect(index('00')?.v1.reason).toBe('not_json')
    expect(index('18446744073709551616')?.v1.reason).toBe('not_a_log_entry')
    expect(index('18446744073709551615')?.v1.reason).toBe('hash_mismatch')
    const twice = good.replace('"data":', '"data":{},"data":')
    expect(checkText(twice).chains[0]?.v1.reason).toBe('not_a_log_entry')
  })

  it('holds a chain by an index beyond 2^53 to its position', () => {
    const base = { timestamp: '2025-10-04T09:47:42Z', author: 'a', type: 't', data: {} }
    const one = sealV1({ ...base, index: 2 ** 53, prevHash: '' })
    const [chain] = checkText(one.text).chains
    expect(chain?.v1.ok).toBe(true)
    expect(chain?.strict.reason).toBe('index_not_position')
  })
})
