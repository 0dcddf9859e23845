import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

import { parse, YAMLParseError } from 'yaml'
import { z } from 'zod'

import type { Env } from '../config/env.ts'
import { InvalidConfigError } from '../errors.ts'
import { STACK_FILE_BYTES_MAX } from './constants.ts'
import { substituteEnv } from './envsubst.ts'

/** A function as the stack file names it, under the key it has there. */
export interface StackFunction {
  name: string
  lang: string
  /** Absolute path of the folder with handler.ts. */
  handler: string
  image: string
  environment: Readonly<Record<string, string>>
  secrets: readonly string[]
  labels: Readonly<Record<string, string>>
  annotations: Readonly<Record<string, string>>
  limits: Resources | null
  requests: Resources | null
  readOnlyRootFilesystem: boolean
  /** Port of the function's own listener (annotation `bzzz.port`), before any offset. */
  port: number | null
}

export interface Resources {
  memory?: string | undefined
  cpu?: string | undefined
}

export interface Stack {
  functions: readonly StackFunction[]
  /** Paths that the build copies into every function's context. */
  copy: readonly string[]
}

/** Where a function wants a listener of its own, beside its path on the gateway. */
const PORT_ANNOTATION = 'bzzz.port'

/** faas-cli reads every scalar of these maps as text. */
const text = z
  .union([z.string(), z.number(), z.boolean(), z.null()])
  .transform((value) => `${value ?? ''}`)
const texts = z
  .record(z.string(), text)
  .nullish()
  .transform((map) => map ?? {})
const resources = z.strictObject({ memory: text.optional(), cpu: text.optional() })

/**
 * The fields of OpenFaaS. faas-cli ignores a key it does not know; here a typo is an error, and
 * what only a container platform can honour is allowed and left alone.
 */
const functionSchema = z.strictObject({
  lang: z.string().min(1),
  handler: z.string().min(1),
  image: z.string().min(1),
  environment: texts,
  environment_file: z.array(z.string()).default([]),
  secrets: z.array(z.string()).default([]),
  labels: texts,
  annotations: texts,
  limits: resources.nullish(),
  requests: resources.nullish(),
  readonly_root_filesystem: z.boolean().default(false),
  fprocess: z.string().optional(),
  skip_build: z.boolean().optional(),
  constraints: z.array(z.string()).nullish(),
  build_options: z.array(z.string()).optional(),
  build_args: texts,
  build_secrets: texts,
  namespace: z.string().optional(),
  platforms: z.string().optional(),
})

/** A name is a label of DNS: it becomes a host name on Swarm and on Kubernetes. */
export const functionName = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'a DNS label')

const stackSchema = z.strictObject({
  version: z.literal(['1.0', 1]).optional(),
  provider: z.strictObject({ name: z.literal('openfaas'), gateway: z.string().optional() }),
  functions: z.record(functionName, functionSchema),
  configuration: z
    .strictObject({
      templates: z
        .array(z.strictObject({ name: z.string(), source: z.string().optional() }))
        .optional(),
      copy: z.array(z.string()).optional(),
    })
    .optional(),
})

const environmentFileSchema = z.strictObject({ environment: texts })

const port = z.coerce.number().int().min(0).max(65_535)

/**
 * Reads and checks a stack file. Paths in it are relative to its folder.
 * @throws InvalidConfigError naming every problem
 */
export async function readStackFile(path: string, env: Env): Promise<Stack> {
  const folder = dirname(resolve(path))
  const stack = check(stackSchema, path, substituteEnv(await readText(path), env))
  const functions = Object.entries(stack.functions).map(async ([name, entry]) => {
    const environment = { ...entry.environment }
    for (const file of entry.environment_file) {
      const filePath = resolve(folder, file)
      const given = check(environmentFileSchema, filePath, await readText(filePath))
      Object.assign(environment, given.environment)
    }
    return {
      name,
      lang: entry.lang,
      handler: resolve(folder, entry.handler),
      image: entry.image,
      environment,
      secrets: entry.secrets,
      labels: entry.labels,
      annotations: entry.annotations,
      limits: entry.limits ?? null,
      requests: entry.requests ?? null,
      readOnlyRootFilesystem: entry.readonly_root_filesystem,
      port: portOf(name, entry.annotations),
    }
  })
  return { functions: await Promise.all(functions), copy: stack.configuration?.copy ?? [] }
}

async function readText(path: string): Promise<string> {
  let content: string
  try {
    content = await readFile(path, 'utf8')
  } catch (error) {
    throw new InvalidConfigError(`The stack file ${path} cannot be read.`, { cause: error })
  }
  if (content.length <= STACK_FILE_BYTES_MAX) return content
  throw new InvalidConfigError(`The stack file ${path} is longer than a stack file can be.`)
}

function check<Schema extends z.ZodType>(schema: Schema, path: string, yaml: string) {
  let value: unknown
  try {
    value = parse(yaml)
  } catch (error) {
    // The second is how the parser refuses aliases that multiply without end, or lead nowhere.
    if (!(error instanceof YAMLParseError || error instanceof ReferenceError)) throw error
    const message = `The stack file ${path} is not valid YAML: ${error.message}`
    throw new InvalidConfigError(message, { cause: error })
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const problems = result.error.issues.map((issue) => {
    const reason = issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined
    return `${issue.path.join('.')}: ${reason ?? issue.message}`
  })
  throw new InvalidConfigError(`The stack file ${path} is not valid:\n  ${problems.join('\n  ')}`)
}

/** @throws InvalidConfigError naming the function */
export function portOf(name: string, annotations: Readonly<Record<string, string>>): number | null {
  const given = annotations[PORT_ANNOTATION]
  if (given === undefined) return null
  const result = port.safeParse(given)
  if (result.success) return result.data
  throw new InvalidConfigError(`functions.${name}: ${PORT_ANNOTATION} must be a port`)
}
