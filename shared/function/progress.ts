import { PassThrough } from 'node:stream'

import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * An answer that tells how far the work is: a line of JSON for each report, and a last one with
 * the status and body that the function would have answered without it.
 *
 *   {"progress": 40, "message": "reading"}
 *   {"status": 200, "contentType": "application/json", "body": "{}"}
 *
 * A stream that ends without the last line was cut, and counts as no answer.
 */
export const PROGRESS_MEDIA_TYPE = 'application/vnd.bzzz.progress+ndjson'

/** Whether the caller understands reports. Whoever calls a function directly need not. */
export function wantsProgress(request: FastifyRequest): boolean {
  return request.headers.accept?.includes(PROGRESS_MEDIA_TYPE) ?? false
}

export interface ProgressReporter {
  /** 0 to 100. */
  report(percent: number, message?: string): void
  /** Ends the answer. */
  finish(answer: { status: number; contentType: string; body: string }): void
}

/** Begins such an answer. A failure after this is told by `finish` with a status of 4xx or 5xx. */
export function startProgress(reply: FastifyReply): ProgressReporter {
  const lines = new PassThrough()
  const write = (line: object) => void lines.write(`${JSON.stringify(line)}\n`)
  void reply.type(PROGRESS_MEDIA_TYPE).send(lines)
  return {
    report: (percent, message) => write({ progress: percent, ...(message && { message }) }),
    finish: (answer) => {
      write(answer)
      lines.end()
    },
  }
}
