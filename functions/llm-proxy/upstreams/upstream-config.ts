import { z } from 'zod'

import { duration, size } from '../../../shared/config/env.ts'
import { MiB } from '../../../shared/limits.ts'
import { COOL_DOWN_MS_MAX, HEALTH_INTERVAL_MS_MAX, HEALTH_INTERVAL_MS_MIN } from '../constants.ts'

/** One upstream, model or target: far more than a team has, and a bound for what is kept. */
const ENTRIES_MAX = 256

const name = z.string().regex(/^[a-z0-9][-a-z0-9_.]{0,62}$/, 'a name such as openai or ollama-2')
const model = z.string().min(1).max(256)

/** `gpt-*`: a star stands for any letters. */
const patterns = z.array(model).max(ENTRIES_MAX).default(['*'])

const weight = z.number().min(0).max(1000).default(1)
const priority = z.int().min(0).max(1000).default(0)

const timeouts = z
  .strictObject({
    connect: duration.prefault('5s'),
    /** To the head of the answer: a model may think for minutes before it says anything. */
    firstByte: duration.prefault('10m'),
    /** Between two pieces of an answer. */
    idle: duration.prefault('5m'),
  })
  .prefault({})

const coolDown = z
  .strictObject({
    /** Failures one after the other until it is avoided. */
    failures: z.int().min(1).max(1000).default(3),
    time: duration
      .refine((ms) => ms <= COOL_DOWN_MS_MAX, `at most ${COOL_DOWN_MS_MAX / 1000} s`)
      .prefault('30s'),
  })
  .prefault({})

/** Off unless it is there: asks a server how it is while no calls tell. */
const health = z.strictObject({
  /** At the server, not below the base URL; its list of models when absent. */
  path: z
    .string()
    .regex(/^\/(?!.*\.\.)[-\w./~]{0,255}$/, 'a path such as /health')
    .optional(),
  interval: duration
    .refine(
      (ms) => ms >= HEALTH_INTERVAL_MS_MIN && ms <= HEALTH_INTERVAL_MS_MAX,
      'between 1 s and 1 h',
    )
    .prefault('30s'),
  /** A server that takes longer is not well. */
  timeout: duration.prefault('5s'),
  /** One after the other, until it is asked last. */
  failures: z.int().min(1).max(1000).default(2),
})

const common = {
  models: patterns,
  /** Off for a server that refuses `stream_options`: its streams are then counted by estimate. */
  includeUsage: z.boolean().default(true),
  weight,
  priority,
  timeouts,
  coolDown,
}

const baseURL = z.url({ protocol: /^https?$/ }).refine((text) => {
  const url = URL.parse(text)
  return url?.username === '' && url.password === '' && url.search === '' && url.hash === ''
}, 'a URL without user, password, query or fragment')

const remote = {
  ...common,
  baseURL,
  /** The name of a secret, or with a slash in it the path of a file. */
  apiKeyFile: z.string().min(1).max(1024).optional(),
  /** Sent with every call, such as `openai-organization`. */
  headers: z.record(z.string().regex(/^[-\w]{1,64}$/), z.string().max(1024)).default({}),
  health: health.optional(),
}

const upstream = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('openai'), ...remote }),
  z.strictObject({
    type: z.literal('azure'),
    ...remote,
    apiVersion: z.string().regex(/^[-\w.]{1,64}$/, 'such as 2025-04-01-preview'),
    /** Model to deployment; a model that is not named here is a deployment of its own name. */
    deployments: z
      .record(model, z.string().regex(/^[-\w.]{1,128}$/, 'the name of a deployment'))
      .default({}),
  }),
  /** Models that other nodes of the mesh share. */
  z.strictObject({ type: z.literal('mesh'), ...common }),
])

const target = z.strictObject({
  upstream: name,
  /** What the model is called there; its own name when absent. */
  model: model.optional(),
  weight,
  priority,
})

const cache = z
  .strictObject({
    enabled: z.boolean().default(false),
    bytes: size.default(64 * MiB),
    entries: z.int().min(1).max(1_000_000).default(10_000),
    ttl: duration.prefault('24h'),
  })
  .prefault({})

const retries = z
  .strictObject({
    /** Calls of upstreams for one call of a client. */
    attempts: z.int().min(1).max(10).default(3),
    /** A longer Retry-After is handed on to the client instead of being waited for. */
    waitMax: duration.prefault('10s'),
  })
  .prefault({})

const fileSchema = z.strictObject({
  upstreams: z
    .record(
      name,
      z.preprocess(
        (value) =>
          typeof value === 'object' && value !== null ? { type: 'openai', ...value } : value,
        upstream,
      ),
    )
    .refine((all) => Object.keys(all).length <= ENTRIES_MAX, 'too many upstreams'),
  models: z.record(model, z.array(target).min(1).max(ENTRIES_MAX)).default({}),
  retries,
  cache,
})

/** Names that lead nowhere are found at the start, not by the first call. */
export const upstreamsSchema = fileSchema.superRefine((file, context) => {
  for (const [alias, targets] of Object.entries(file.models)) {
    for (const [index, { upstream: to }] of targets.entries()) {
      if (Object.hasOwn(file.upstreams, to)) continue
      const message = `there is no upstream ${to}`
      context.addIssue({ code: 'custom', path: ['models', alias, index, 'upstream'], message })
    }
  }
})

export type UpstreamsConfig = z.output<typeof upstreamsSchema>
export type UpstreamConfig = UpstreamsConfig['upstreams'][string]
export type TargetConfig = z.output<typeof target>
export type HealthConfig = z.output<typeof health>
