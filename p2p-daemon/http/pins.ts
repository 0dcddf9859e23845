import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { isHash, parseHash } from '../../shared/blob/hash.ts'
import { duration } from '../../shared/config/env.ts'
import { PinNotFoundError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { Claim, ClaimKind } from '../lifetime/claim.ts'
import {
  CLAIM_KEY_CHARS_MAX,
  CLAIM_TEXT_CHARS_MAX,
  CLAIM_TTL_MS_MAX,
} from '../lifetime/constants.ts'
import type { Pins } from '../lifetime/pins.ts'

export interface PinRoutesOptions {
  pins: Pins
}

const reason = z.string().max(CLAIM_TEXT_CHARS_MAX).default('')
const ttl = duration.refine(
  (ms) => ms > 0 && ms <= CLAIM_TTL_MS_MAX,
  `more than nothing and at most ${CLAIM_TTL_MS_MAX / 86_400_000} days`,
)

const pinBody = z.strictObject({ reason })
const leaseBody = z.strictObject({
  hash: z
    .string()
    .transform((text) => text.toLowerCase())
    .refine(isHash, 'not a BLAKE3 hash'),
  ttl,
  reason,
})
const holdBody = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]+$/, 'a name such as nightly-backup')
    .max(CLAIM_KEY_CHARS_MAX),
  ttl,
  reason,
})
const pageQuery = z.object({
  after: z.string().max(CLAIM_KEY_CHARS_MAX).default(''),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
})

interface HashParams {
  Params: { hash: string }
}

/** `/v1/pins`, `/v1/leases` and `/v1/holds`: what must be kept whatever refers to it. */
export async function pinRoutes(app: FastifyInstance, { pins }: PinRoutesOptions): Promise<void> {
  const read = { config: { scope: 'blob:read' as const } }
  const write = { config: { scope: 'blob:write' as const } }
  // A list tells the hashes of all projects, and to know a hash is to be allowed its content.
  const list = { config: { ...read.config, projects: 'every' as const } }
  // A pin belongs to no project: whoever takes one away may let go what others rely on.
  const unpin = { config: { ...write.config, projects: 'every' as const } }

  app.put<HashParams>('/v1/pins/:hash', write, async (request, reply) => {
    const hash = parseHash(request.params.hash)
    const who = whoAndWhy(request, parseWith(pinBody, request.body).reason)
    const { pin, created } = await pins.pin(hash, who, abandonedSignal(reply))
    reply.code(created ? 201 : 200)
    return toJSON(pin)
  })

  app.delete<HashParams>('/v1/pins/:hash', unpin, async (request, reply) => {
    await pins.unpin(parseHash(request.params.hash), abandonedSignal(reply))
    return reply.code(204).send()
  })

  app.get<HashParams>('/v1/pins/:hash', read, async (request) => {
    const hash = parseHash(request.params.hash)
    const pin = pins.find('pin', hash)
    if (!pin) throw new PinNotFoundError(`The blob ${hash} is not pinned.`)
    return toJSON(pin)
  })

  app.get('/v1/pins', list, async (request) => page(pins, 'pin', request))
  app.get('/v1/leases', list, async (request) => page(pins, 'lease', request))

  app.post('/v1/leases', write, async (request, reply) => {
    const body = parseWith(leaseBody, request.body)
    const who = whoAndWhy(request, body.reason)
    const lease = await pins.lease(body.hash, body.ttl, who, abandonedSignal(reply))
    reply.code(201)
    return toJSON(lease)
  })

  app.delete<{ Params: { id: string } }>('/v1/leases/:id', write, async (request, reply) => {
    await pins.release(request.params.id, abandonedSignal(reply))
    return reply.code(204).send()
  })
  await app.register(holdRoutes, { pins })
}

/** Whoever reads everything, a backup as a rule, keeps collections away while it does. */
async function holdRoutes(app: FastifyInstance, { pins }: PinRoutesOptions): Promise<void> {
  const manage = { config: { scope: 'node:manage' as const } }

  app.post('/v1/holds', manage, async (request, reply) => {
    const { name, ttl: ttlMs, reason: why } = parseWith(holdBody, request.body)
    const who = whoAndWhy(request, why)
    reply.code(201)
    return toJSON(await pins.holdGC(name, ttlMs, who, abandonedSignal(reply)))
  })

  app.delete<{ Params: { name: string } }>('/v1/holds/:name', manage, async (request, reply) => {
    await pins.unholdGC(request.params.name, abandonedSignal(reply))
    return reply.code(204).send()
  })

  app.get('/v1/holds', manage, async (request) => page(pins, 'hold', request))
}

function whoAndWhy(request: FastifyRequest, why: string): { subject: string; reason: string } {
  return { subject: request.claims?.subject ?? '', reason: why }
}

function page(pins: Pins, kind: ClaimKind, request: FastifyRequest) {
  const { after, limit } = parseWith(pageQuery, request.query)
  const claims = pins.page(kind, after, limit)
  const next = claims.length === limit ? claims.at(-1)!.key : null
  return { [`${kind}s`]: claims.map(toJSON), next }
}

function toJSON(claim: Claim) {
  const { kind, key, hash, subject, reason: why, createdMs, expiresMs } = claim
  return {
    ...(kind === 'lease' && { id: key }),
    ...(kind === 'hold' && { name: key }),
    ...(hash !== null && { hash }),
    subject,
    reason: why,
    createdAt: new Date(createdMs).toISOString(),
    ...(expiresMs !== null && { expiresAt: new Date(expiresMs).toISOString() }),
  }
}
