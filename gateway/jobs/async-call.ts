import type { IncomingHttpHeaders } from 'node:http'

import type { FastifyInstance, FastifyRequest } from 'fastify'

import type { TokenVerifier } from '../../shared/auth/token.ts'
import { FunctionNotFoundError, InvalidRequestError } from '../../shared/errors.ts'
import { requireCallbackURL } from '../../shared/queue/callback.ts'
import { JOB_BODY_BYTES_MAX } from '../../shared/queue/constants.ts'
import { CALLS_TOPIC } from '../../shared/queue/names.ts'
import { SCHEDULE_HEADER } from '../../shared/queue/schedule.ts'
import type { FunctionProvider } from '../providers/provider.ts'
import { forwardHeaders } from '../proxy/forwarded.ts'
import { splitName } from '../proxy/invoker.ts'
import type { GatewayJobs } from './gateway-jobs.ts'

export interface AsyncCallOptions {
  provider: Pick<FunctionProvider, 'find'>
  jobs: Pick<GatewayJobs, 'queue' | 'callbackHosts' | 'anonymous'>
  verify: TokenVerifier
}

const TARGET = /^\/async-function\/([-A-Za-z0-9_.]+)(\/[^?]*)?(\?.*)?$/

/** Visible characters, as long as other services allow. */
const KEY = /^[\x21-\x7e]{1,255}$/

/** Said anew by the connector for each attempt, or meant for the gateway alone. */
const NOT_KEPT = new Set([
  'content-length',
  'expect',
  'host',
  'idempotency-key',
  'transfer-encoding',
  'x-call-id',
  'x-callback-url',
  'x-start-time',
  SCHEDULE_HEADER,
])

/** `POST /async-function/NAME[/path]`: takes the call in and answers 202 with its id. */
export async function asyncCallRoutes(
  app: FastifyInstance,
  options: AsyncCallOptions,
): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  // Public as /function is where only this machine gets here: the token is for the function, which
  // checks it when it is called.
  const config = options.jobs.anonymous ? { public: true } : { scope: 'job:write' as const }
  const route = { config, bodyLimit: JOB_BODY_BYTES_MAX }
  app.post('/async-function/*', route, async (request, reply) => {
    const { provider, jobs } = options
    const target = TARGET.exec(request.raw.url ?? '')
    const { name, namespace } = splitName(target?.[1] ?? '')
    if (!target || !provider.find(name, namespace)) {
      throw new FunctionNotFoundError(`There is no function named ${name === '' ? 'so' : name}.`)
    }
    const { key, callbackUrl } = readHeaders(request.headers, options)
    const owner = await ownerOf(request, options)
    forwardHeaders(request.raw)
    const { id } = await jobs.queue().submit({
      topic: CALLS_TOPIC,
      call: {
        function: name,
        path: (target[2] ?? '/') + (target[3] ?? ''),
        headers: keptHeaders(request.raw.headers),
        body: ((request.body as Buffer | undefined) ?? Buffer.alloc(0)).toString('base64'),
      },
      ...(key !== undefined && { key }),
      ...(owner !== undefined && { owner }),
      ...(callbackUrl !== undefined && { callbackUrl }),
    })
    return reply.code(202).header('x-call-id', id).send()
  })
}

function readHeaders(headers: IncomingHttpHeaders, { jobs: { callbackHosts } }: AsyncCallOptions) {
  const key = headers['idempotency-key']
  if (key !== undefined && !(typeof key === 'string' && KEY.test(key))) {
    throw new InvalidRequestError('Idempotency-Key is 1 to 255 visible characters.')
  }
  const url = headers['x-callback-url']
  return {
    key,
    callbackUrl: url === undefined ? undefined : requireCallbackURL(String(url), callbackHosts),
  }
}

/** Whose call it is, where a good token says so: keys of one caller are no business of another. */
async function ownerOf(
  request: FastifyRequest,
  { verify }: AsyncCallOptions,
): Promise<string | undefined> {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token === undefined) return undefined
  try {
    return (await verify(token)).subject
  } catch {
    return undefined
  }
}

function keptHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || NOT_KEPT.has(name)) continue
    kept[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return kept
}
