import { Readable } from 'node:stream'

import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { FunctionNotFoundError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { NAMESPACE } from '../constants.ts'
import type { FunctionLogs, LogLine, LogRequest } from '../logs/function-logs.ts'
import type { FunctionProvider } from '../providers/provider.ts'
import { splitName } from '../proxy/invoker.ts'
import { ADMIN } from './admin-auth.ts'
import { here } from './here.ts'

/** As faas-cli writes it: a tail of -1 is everything. */
const querySchema = z.object({
  name: z.string().min(1),
  namespace: z.string().optional(),
  instance: z.string().optional(),
  tail: z.coerce.number().int().min(-1).optional(),
  follow: z.enum(['true', 'false', '']).optional(),
  since: z.iso
    .datetime({ offset: true })
    .transform((text) => new Date(text))
    .optional(),
})

export interface LogRoutesOptions {
  provider: Pick<FunctionProvider, 'find'>
  logs: FunctionLogs | null
  /** What runs the functions, where a platform would name a container. */
  instance: string
}

/** `GET /system/logs`: a JSON object a line, for as long as the reader follows. */
export async function logRoutes(
  app: FastifyInstance,
  { provider, logs, instance }: LogRoutesOptions,
): Promise<void> {
  app.get('/system/logs', ADMIN, async (request, reply) => {
    const lines = here(logs)
    const query = parseWith(querySchema, request.query)
    const { name, namespace } = splitName(query.name)
    if (!provider.find(name, query.namespace || namespace)) {
      throw new FunctionNotFoundError(`There is no function named ${query.name}.`)
    }
    const wanted: LogRequest = {
      ...(query.tail !== undefined && query.tail >= 0 && { tail: query.tail }),
      ...(query.since && { since: query.since }),
      ...(query.follow === 'true' && { follow: abandonedSignal(reply) }),
    }
    const elsewhere = query.instance && query.instance !== instance
    const read = lines.read(name, elsewhere ? { tail: 0 } : wanted)
    const about = { name, namespace: NAMESPACE, instance }
    return reply.type('application/x-ndjson').send(Readable.from(ndjson(read, about)))
  })
}

async function* ndjson(lines: AsyncIterable<LogLine>, about: object): AsyncIterable<string> {
  // Sends the headers at once: whoever follows a silent function waits for no line to see them.
  yield '\n'
  for await (const { timestamp, text } of lines) {
    yield `${JSON.stringify({ ...about, timestamp: timestamp.toISOString(), text })}\n`
  }
}
