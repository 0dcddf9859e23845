import { describe, expect, it } from 'vitest'

import { LogTooManyChainsError } from '../../../shared/errors.ts'
import {
  CHAINS_MAX,
  RECORD_BYTES_MAX,
  RECORD_BYTES_SHOWN_MAX,
} from '../../../shared/v1/constants.ts'
import { LogChecker } from '../../../shared/v1/log-checker.ts'
import { dataOfEntry, readEntry } from '../../../shared/v1/log-entry.ts'
import { RecordSplitter, type RawRecord } from '../../../shared/v1/record-splitter.ts'
import { sealV1, v1Log } from '../../helpers/v1-log.ts'

const CHUNK = Buffer.alloc(1 << 20, 'x')
const base = { index: 0, timestamp: '2025-10-04T09:47:42Z', author: 'a', type: 't', prevHash: '' }

function readAll(chunks: Iterable<Buffer>): { records: RawRecord[]; checker: LogChecker } {
  const checker = new LogChecker()
  const splitter = new RecordSplitter()
  const records: RawRecord[] = []
  const take = (some: RawRecord[]) => {
    for (const record of some) checker.check(record)
    records.push(...some)
  }
  for (const chunk of chunks) take(splitter.push(chunk))
  take(splitter.end())
  return { records, checker }
}

function* line(before: string, chunks: number, after: string): Generator<Buffer> {
  yield Buffer.from(before)
  for (let n = 0; n < chunks; n += 1) yield CHUNK
  yield Buffer.from(after)
}

describe('hostile logs', () => {
  it.each([
    ['a line of 1 GiB', 1024, '{"index":"', '"}\n'],
    ['an element of 128 MiB', 128, '[{"index":"', '"}]'],
  ])('keeps only the beginning of %s, and reports it', (_what, chunks, before, after) => {
    const memoryBefore = process.memoryUsage().rss
    const { records, checker } = readAll(line(before, chunks, after))
    expect(records).toHaveLength(1)
    expect(records[0]).toMatchObject({ whole: false, sizeBytes: expect.any(Number) })
    expect(records[0]!.sizeBytes).toBeGreaterThan(chunks * CHUNK.length)
    expect(records[0]!.bytes.length).toBe(RECORD_BYTES_SHOWN_MAX)
    expect(checker.chains[0]?.v1).toMatchObject({ reason: 'too_long', firstBadPosition: 0 })
    expect(process.memoryUsage().rss - memoryBefore).toBeLessThan(64 * CHUNK.length)
  })

  it('goes on behind a line that is too long', () => {
    const good = [...v1Log({ entries: 2 })]
    const long = `${'y'.repeat(RECORD_BYTES_MAX + 1)}\n`
    const { records, checker } = readAll([Buffer.from(`${good[0]}\n${long}${good[1]}\n`)])
    expect(records.map(({ whole }) => whole)).toEqual([true, false, true])
    expect(checker.chains[0]).toMatchObject({ length: 3, strict: { goodEntries: 1 } })
  })

  it('refuses nesting that encoding/json refuses, without parsing it', () => {
    const deep = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
    const reason = (depth: number) =>
      readAll([Buffer.from(sealV1({ ...base, data: deep(depth) }).text)]).checker.chains[0]!.v1
        .reason
    expect(reason(9_000)).toBe(null)
    expect(reason(100_000)).toBe('too_deep')
  })

  it('takes __proto__ for a key like any other', () => {
    const { text } = sealV1({ ...base, data: '{"__proto__":{"task_id":7},"task_id":1}' })
    const entry = readEntry({ bytes: Buffer.from(text), offset: 0, sizeBytes: 0, whole: true })
    if (typeof entry === 'string') throw new Error(entry)
    expect(dataOfEntry(entry)['task_id']).toBe(1)
    expect(({} as { task_id?: number }).task_id).toBe(undefined)
  })

  it('accepts NUL as v1 writes it, and refuses it raw', () => {
    const { text } = sealV1({ ...base, data: '{"command":"a\\u0000b"}' })
    expect(readAll([Buffer.from(text)]).checker.chains[0]?.strict.ok).toBe(true)
    const raw = text.replace('\\u0000', '\0')
    expect(readAll([Buffer.from(raw)]).checker.chains[0]?.v1.reason).toBe('not_json')
  })

  it('refuses bytes that are not UTF-8, which v1 cannot have written', () => {
    const { text } = sealV1({ ...base, data: '{"command":"caf#"}' })
    const bytes = Buffer.from(text)
    bytes[bytes.indexOf('#')] = 0xff
    expect(readAll([bytes]).checker.chains[0]?.v1.reason).toBe('invalid_utf8')
  })

  it('looks after a bounded number of chains', () => {
    const text = Array.from(
      { length: CHAINS_MAX + 1 },
      (_, n) => sealV1({ ...base, author: `a${n}`, data: {} }).text,
    )
    expect(() => readAll([Buffer.from(text.join('\n'))])).toThrow(LogTooManyChainsError)
  })

  it('cuts the same records whatever the chunks are', () => {
    const lines = [...v1Log({ entries: 12 })]
    const logs = [
      `\ufeff${lines.join('\r\n')}\r\n\r\n`,
      `\ufeff [ ${lines.join(' ,\n\t')} ] \n`,
      `[${lines.join(',')}`,
      `[${lines.join(',')}] trailing`,
      `[,${lines[0]},]`,
    ]
    for (const log of logs) {
      const whole = readAll([Buffer.from(log)]).records.map(({ bytes }) => bytes.toString())
      for (const size of [1, 2, 7, 100]) {
        const bytes = Buffer.from(log)
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) =>
          bytes.subarray(n * size, (n + 1) * size),
        )
        expect(readAll(chunks).records.map((one) => one.bytes.toString())).toEqual(whole)
      }
    }
  })

  it('says that an array without its end, or with more behind it, is not JSON', () => {
    const lines = [...v1Log({ entries: 2 })]
    const verdict = (text: string) => readAll([Buffer.from(text)]).checker.chains[0]!.v1
    expect(verdict(`[${lines.join(',')}]`).ok).toBe(true)
    for (const [text, position] of [
      [`[${lines.join(',')}`, 2],
      [`[${lines.join(',')}`.slice(0, -1), 1],
      [`[${lines.join(',')},]`, 2],
      [`[${lines.join(',')},`, 2],
      [`[${lines.join(',')}] [`, 2],
      [`[${lines.join(',,')}]`, 1],
    ] as const) {
      expect(verdict(text), text.slice(-20)).toMatchObject({
        ok: false,
        reason: 'not_json',
        firstBadPosition: position,
      })
    }
  })
})
