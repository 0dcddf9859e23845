import { describe, expect, it } from 'vitest'

import { readProgress } from '../../../connector/jobs/progress-lines.ts'
import type { JobProgress } from '../../../shared/queue/job.ts'

async function read(...chunks: (string | Buffer)[]) {
  const reports: JobProgress[] = []
  const stream = (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk)
  })()
  const last = await readProgress(stream, (progress) => reports.push(progress))
  return { reports, last }
}

const LAST = '{"status":200,"contentType":"text/plain","body":"é"}\n'

describe('lines of progress', () => {
  it('are read wherever they are cut into chunks', async () => {
    const text = Buffer.from(`{"progress":1,"message":"größer"}\n\n{"progress":99.5}\n${LAST}`)
    for (let cut = 0; cut <= text.length; cut += 1) {
      const { reports, last } = await read(text.subarray(0, cut), text.subarray(cut))
      expect(reports).toEqual([{ percent: 1, message: 'größer' }, { percent: 99.5 }])
      expect(last).toEqual({ status: 200, contentType: 'text/plain', body: 'é' })
    }
  })

  it('need no line end after the last one', async () => {
    expect((await read(LAST.trim())).last.status).toBe(200)
  })

  it.each([
    ['end without a result', '{"progress":1}\n'],
    ['are no JSON', 'half way\n'],
    ['are something else', '{"hello":1}\n'],
    ['claim more than all', '{"progress":101}\n'],
    ['are cut in the last one', LAST.slice(0, 20)],
    ['have no end', 'x'.repeat(2 * 1024 * 1024 + 1)],
  ])('that %s are no answer', async (_, text) => {
    await expect(read(text)).rejects.toThrow()
  })
})
