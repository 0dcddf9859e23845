import { z } from 'zod'

import type { JobProgress } from '../../shared/queue/job.ts'
import { PROGRESS_LINE_BYTES_MAX } from '../constants.ts'

const reportSchema = z.object({
  progress: z.number().min(0).max(100),
  message: z.string().max(500).optional(),
})

const lastSchema = z.object({
  status: z.number().int().min(200).max(599),
  contentType: z.string().default('application/octet-stream'),
  body: z.string().default(''),
})

export type LastLine = z.output<typeof lastSchema>

const LINE_END = 0x0a

/**
 * Reads the lines of an answer that tells of its progress (`shared/function/progress.ts`).
 * @throws when it ends without its last line, or a line is neither
 */
export async function readProgress(
  stream: AsyncIterable<Buffer>,
  onProgress: (progress: JobProgress) => void,
): Promise<LastLine> {
  let last: LastLine | null = null
  for await (const line of linesOf(stream)) {
    const value: unknown = JSON.parse(line)
    const report = reportSchema.safeParse(value)
    if (report.success) {
      const { progress: percent, message } = report.data
      onProgress({ percent, ...(message !== undefined && { message }) })
    } else {
      last = lastSchema.parse(value)
    }
  }
  if (!last) throw new Error('The answer ended without its result.')
  return last
}

async function* linesOf(stream: AsyncIterable<Buffer>): AsyncIterable<string> {
  let rest: Buffer[] = []
  let restBytes = 0
  for await (const chunk of stream) {
    let begin = 0
    for (let end = chunk.indexOf(LINE_END); end !== -1; end = chunk.indexOf(LINE_END, begin)) {
      const line = Buffer.concat([...rest, chunk.subarray(begin, end)]).toString()
      rest = []
      restBytes = 0
      begin = end + 1
      if (line.trim() !== '') yield line
    }
    restBytes += chunk.length - begin
    if (restBytes > PROGRESS_LINE_BYTES_MAX) throw new Error('A line of the answer is too long.')
    rest.push(chunk.subarray(begin))
  }
  const line = Buffer.concat(rest).toString()
  if (line.trim() !== '') yield line
}
