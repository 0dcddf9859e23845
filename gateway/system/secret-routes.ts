import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { parseWith } from '../../shared/http/parse.ts'
import { NAMESPACE } from '../constants.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import { ADMIN } from './admin-auth.ts'
import { here } from './here.ts'

const namespace = z.literal(['', NAMESPACE]).nullish()

const nameSchema = z.object({ name: z.string(), namespace })

/** Bytes that are no text come as `rawValue`, in base64. */
const secretSchema = nameSchema.extend({
  value: z.string().nullish(),
  rawValue: z.base64().nullish(),
})

/** A hash of a value would let whoever reads audit rows try guesses. */
const WRITE = { config: { ...ADMIN.config, audit: 'no-arguments' as const } }

/** Secrets of functions. Values go in and never come out. */
export async function secretRoutes(
  app: FastifyInstance,
  options: { secrets: SecretStore | null },
): Promise<void> {
  const secrets = () => here(options.secrets)

  app.get<{ Querystring: { namespace?: string } }>('/system/secrets', ADMIN, async ({ query }) => {
    if (query.namespace && query.namespace !== NAMESPACE) return []
    return (await secrets().list()).map((name) => ({ name, namespace: NAMESPACE }))
  })

  // 409 for one that exists is what `faas-cli secret create --replace` goes by.
  app.post('/system/secrets', WRITE, async ({ body }, reply) => {
    const given = parseWith(secretSchema, body)
    await secrets().create(given.name, valueOf(given))
    return reply.code(201).send()
  })

  app.put('/system/secrets', WRITE, async ({ body }, reply) => {
    const given = parseWith(secretSchema, body)
    await secrets().update(given.name, valueOf(given))
    return reply.code(200).send()
  })

  // Not the 204 of the specification: faas-cli takes that for a failure.
  app.delete('/system/secrets', ADMIN, async ({ body }, reply) => {
    await secrets().remove(parseWith(nameSchema, body).name)
    return reply.code(202).send()
  })
}

function valueOf({ value, rawValue }: z.output<typeof secretSchema>): Uint8Array {
  return rawValue ? Buffer.from(rawValue, 'base64') : Buffer.from(value ?? '', 'utf8')
}
