import { describe, expect, it } from 'vitest'

import { InvalidChunkError, LogBrokenError } from '../../../shared/errors.ts'
import { readChunk } from '../../../shared/v1/chunk.ts'
import { CHUNK_ENTRIES_MAX } from '../../../shared/v1/constants.ts'
import { ImportReader, type ImportItem } from '../../../shared/v1/import-reader.ts'
import { RecordSplitter } from '../../../shared/v1/record-splitter.ts'
import { followChunk } from '../../../shared/v1/stored-chunk.ts'
import { sealV1, v1Log, V1_AUTHOR } from '../../helpers/v1-log.ts'

async function itemsOf(text: string): Promise<{ items: ImportItem[]; reader: ImportReader }> {
  const reader = new ImportReader()
  const read = async function* () {
    const splitter = new RecordSplitter()
    yield splitter.push(Buffer.from(text))
    yield splitter.end()
  }
  const items: ImportItem[] = []
  const source = { path: 'log', core: null, sizeBytes: text.length, read }
  for await (const item of reader.read(source, new AbortController().signal)) items.push(item)
  return { items, reader }
}

const lines = [...v1Log({ entries: 2 * CHUNK_ENTRIES_MAX + 10, issues: 30 })]

describe('chunks', () => {
  it('hold all entries, follow each other and derive what the whole log derives', async () => {
    const { items, reader } = await itemsOf(lines.join('\n'))
    const chunks = items.map((item) => {
      if (item.kind !== 'chunk') throw new Error('Nothing is to be set aside.')
      return { ...readChunk(item.body), announced: item.head }
    })
    expect(chunks.map(({ header }) => header.entries)).toEqual([1_000, 1_000, 10])
    expect(chunks.map(({ header }) => header.previous)).toEqual([
      '',
      ...chunks.slice(0, 2).map(({ head }) => head),
    ])
    expect(chunks.every(({ head, announced }) => head === announced)).toBe(true)
    const entries = chunks.flatMap((chunk) => chunk.entries)
    expect(entries.map(({ entry }) => entry.bytes.toString())).toEqual(lines)
    expect(entries.every(({ derived }) => derived.repository !== null)).toBe(true)
    expect(Object.values(reader.summary.counts.threads).reduce((a, b) => a + b, 0)).toBe(
      lines.length,
    )
  })

  it('are the same whatever follows them', async () => {
    const [whole, part] = await Promise.all(
      [lines, lines.slice(0, 1_500)].map((some) => itemsOf(some.join('\n'))),
    )
    const body = (item?: ImportItem) => (item?.kind === 'chunk' ? item.body.toString() : '')
    expect(body(part?.items[0])).toBe(body(whole?.items[0]))
    expect(body(part?.items[1])).not.toBe(body(whole?.items[1]))
  })

  it('are refused when a byte of them is another one', async () => {
    const { items } = await itemsOf(lines.slice(0, 20).join('\n'))
    const body = items[0]?.kind === 'chunk' ? items[0].body : Buffer.alloc(0)
    expect(readChunk(body).entries).toHaveLength(20)
    for (let at = 0; at < body.length; at += 97) {
      const changed = Buffer.from(body)
      changed[at] = changed[at]! ^ 1
      const read = () => readChunk(changed)
      // Claims and clock of the header are not hashed by v1; what they say is derived from entries.
      if (at > body.indexOf('\n')) expect(read, `byte ${at}`).toThrow(InvalidChunkError)
    }
    expect(() => readChunk(body.subarray(0, -10))).toThrow(InvalidChunkError)
  })

  it('find their way through a fork by where they end', () => {
    const base = { timestamp: '2025-10-04T09:47:42Z', author: V1_AUTHOR, type: 't' }
    const first = sealV1({ ...base, index: 0, data: {}, prevHash: '' })
    const forks = [1, 2].map((n) => {
      const second = sealV1({ ...base, index: 1, data: { n }, prevHash: first.hash })
      return { second, third: sealV1({ ...base, index: 2, data: { n }, prevHash: second.hash }) }
    })
    const stored = [
      { position: 0, ...first },
      ...forks.flatMap(({ second, third }) => [
        { position: 1, ...second },
        { position: 2, ...third },
      ]),
    ].map(({ position, hash, text }) => ({ position, hash, bytes: Buffer.from(text) }))
    const place = { author: V1_AUTHOR, start: 0, entries: 3, previous: '' }
    for (const { second, third } of forks) {
      const found = followChunk({ ...place, head: third.hash }, stored)
      expect(found.map(({ hash }) => hash)).toEqual([first.hash, second.hash, third.hash])
    }
    const without = stored.filter(({ hash }) => hash !== forks[0]!.second.hash)
    expect(() => followChunk({ ...place, head: forks[0]!.third.hash }, without)).toThrow(
      LogBrokenError,
    )
  })

  it('set an author aside that is no peer id, and keep numbers beyond 2^53 out of threads', async () => {
    const seal = (author: string, data: string) =>
      sealV1({
        timestamp: '2025-10-04T09:47:42Z',
        ...{ author, type: 'task_claimed', index: 0, data, prevHash: '' },
      }).text
    const { items, reader } = await itemsOf(
      [
        seal('../../etc', '{"task_id":1}'),
        seal(V1_AUTHOR, '{"repository":"a/b","task_id":9007199254740993}'),
      ].join('\n'),
    )
    expect(items.map(({ kind }) => kind).toSorted()).toEqual(['chunk', 'quarantine'])
    const { counts } = reader.summary
    expect(counts.quarantined).toEqual({ author_not_a_peer_id: 1 })
    expect(counts.problems).toEqual({ issue_out_of_range: 1 })
    expect(Object.keys(counts.threads)).toEqual([expect.stringMatching(/^chain /)])
  })
})
