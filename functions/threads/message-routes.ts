import { Readable } from 'node:stream'

import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { parseWith } from '../../shared/http/parse.ts'
import { MiB } from '../../shared/limits.ts'
import { APPEND_MESSAGES_MAX, QUERY_CHARS_MAX } from '../../shared/thread/constants.ts'
import { EXPORT_FORMATS, EXPORT_MEDIA_TYPES, threadJSON } from '../../shared/thread/export.ts'
import { newMessageSchema } from '../../shared/thread/new-message.ts'
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

/** The largest message, with room for what JSON makes of its text. */
const APPEND_BODY_BYTES_MAX = 32 * MiB

const appendBody = z.strictObject({
  messages: z.array(newMessageSchema).min(1).max(APPEND_MESSAGES_MAX),
  /** Make the thread where there is none. */
  create: z.boolean().default(false),
})

const readQuery = z.object({ ...page, order: z.enum(['asc', 'desc']).default('asc') })

const searchQuery = z.object({
  q: z.string().min(1).max(QUERY_CHARS_MAX),
  address: address.optional(),
  pattern: address.optional(),
  ...page,
})

const exportQuery = z.object({ format: z.enum(EXPORT_FORMATS).default('json') })

/**
 * `POST GET /v1/threads/messages`, `GET /v1/threads/search`, `GET /v1/threads/export`: what is
 * said in threads.
 */
export async function messageRoutes(
  app: FastifyInstance,
  { threads }: ThreadRoutesOptions,
): Promise<void> {
  const append = { ...WRITE, bodyLimit: APPEND_BODY_BYTES_MAX }
  app.post('/v1/threads/messages', append, async (request, reply) => {
    const name = threadOf(request)
    const { messages, create } = parseWith(appendBody, request.body)
    const options = { ...writerOf(request), create }
    const { items, head } = await required(threads).append(name, messages, options)
    reply.code(items.every(({ existed }) => existed) ? 200 : 201)
    return { messages: items, thread: { address: name, ...head } }
  })

  app.get('/v1/threads/messages', READ, async (request) => {
    const name = threadOf(request)
    const { after, limit, order } = parseWith(readQuery, request.query)
    const query = { limit, order, ...(after !== undefined && { after }) }
    const { messages, next, thread } = await required(threads).read(name, query, authorOf(request))
    return { thread: threadJSON(thread), messages, next }
  })

  app.get('/v1/threads/search', READ, async (request) => {
    const given = parseWith(searchQuery, request.query)
    const { q: text, after, limit, pattern } = given
    const name = given.address === undefined ? undefined : covered(request, given.address)
    const { messages, next } = await required(threads).search({
      text,
      projects: projectsOf(request),
      limit,
      ...(name !== undefined && { address: name }),
      ...(pattern !== undefined && { pattern }),
      ...(after !== undefined && { after }),
    })
    return { messages, next }
  })

  app.get('/v1/threads/export', READ_LONG, async (request, reply) => {
    const name = threadOf(request)
    const { format } = parseWith(exportQuery, request.query)
    const parts = await required(threads).export(name, format, authorOf(request))
    return reply.type(EXPORT_MEDIA_TYPES[format]).send(Readable.from(parts))
  })
}
