import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { startProgress, wantsProgress } from '../../shared/function/progress.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { toWireError } from '../../shared/http/wire-error.ts'
import { threadJSON } from '../../shared/thread/export.ts'
import { titleSchema } from '../../shared/thread/head.ts'
import { keySchema } from '../../shared/thread/message.ts'
import {
  address,
  authorOf,
  covered,
  page,
  projectsOf,
  required,
  threadOf,
  READ,
  READ_LONG,
  WRITE,
  writerOf,
  type ThreadRoutesOptions,
} from './request.ts'

const newThread = z.strictObject({
  address,
  title: titleSchema.exactOptional(),
  key: keySchema.exactOptional(),
})

const newFork = z.strictObject({
  to: address,
  /** Hash of the last message that is shared. */
  at: z.string().length(64).exactOptional(),
  title: titleSchema.exactOptional(),
  key: keySchema.exactOptional(),
})

const listQuery = z.object({ pattern: address.optional(), ...page })

/**
 * `POST GET /v1/threads`, `GET /v1/threads/thread`, `POST /v1/threads/forks`,
 * `GET /v1/threads/verification`: threads as a whole. `?address=` says which.
 */
export async function threadRoutes(
  app: FastifyInstance,
  { threads }: ThreadRoutesOptions,
): Promise<void> {
  app.post('/v1/threads', WRITE, async (request, reply) => {
    const given = parseWith(newThread, request.body)
    const named = { ...given, address: covered(request, given.address) }
    const { thread, created } = await required(threads).create(named, writerOf(request))
    reply.code(created ? 201 : 200)
    return threadJSON(thread)
  })

  app.get('/v1/threads', READ, async (request) => {
    const { pattern, after, limit } = parseWith(listQuery, request.query)
    const found = await required(threads).list({
      projects: projectsOf(request),
      limit,
      ...(pattern !== undefined && { pattern }),
      ...(after !== undefined && { after }),
    })
    return { threads: found.threads.map(threadJSON), next: found.next }
  })

  app.get('/v1/threads/thread', READ, async (request) => {
    const name = threadOf(request)
    return threadJSON(await required(threads).find(name, authorOf(request)))
  })

  app.post('/v1/threads/forks', WRITE, async (request, reply) => {
    const from = threadOf(request)
    const given = parseWith(newFork, request.body)
    const fork = { ...given, from, to: covered(request, given.to) }
    const { thread, created } = await required(threads).fork(fork, writerOf(request))
    reply.code(created ? 201 : 200)
    return threadJSON(thread)
  })

  app.get('/v1/threads/verification', READ_LONG, (request, reply) =>
    verify(request, reply, threads),
  )
}

async function verify(
  request: FastifyRequest,
  reply: FastifyReply,
  threads: ThreadRoutesOptions['threads'],
): Promise<unknown> {
  const name = threadOf(request)
  const options = authorOf(request)
  if (!wantsProgress(request)) return required(threads).verify(name, options)
  const kept = required(threads)
  const progress = startProgress(reply)
  const onProgress = (done: number, of: number): void =>
    progress.report((100 * done) / of, `version ${done} of ${of}`)
  const contentType = 'application/json'
  try {
    const report = await kept.verify(name, { ...options, onProgress })
    progress.finish({ status: 200, contentType, body: JSON.stringify(report) })
  } catch (error) {
    const { status, body } = toWireError(error, request.id)
    progress.finish({ status, contentType, body: JSON.stringify(body) })
  }
  return reply
}
