import { readFileSync } from 'node:fs'

import { z } from 'zod'

import { InvalidConfigError } from '../errors.ts'
import { GiB, KiB, MiB } from '../limits.ts'

/** A process environment, or an object that a test passes in its place. */
export type Env = Readonly<Record<string, string | undefined>>

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

const SIZE_UNITS_BYTES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: KiB,
  kib: KiB,
  m: MiB,
  mib: MiB,
  g: GiB,
  gib: GiB,
}

/** `250ms`, `10s`, `5m`, `24h`, `30d` to milliseconds. */
export const duration = z.string().transform((text, context) => {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text.trim())
  const unit = match && DURATION_UNITS_MS[match[2]!]
  if (!match || !unit) {
    context.addIssue({ code: 'custom', message: 'a duration such as 250ms, 10s, 5m, 24h' })
    return z.NEVER
  }
  return Number(match[1]) * unit
})

/** `4096`, `64KiB`, `5GiB` to bytes. Units are powers of two. */
export const size = z.string().transform((text, context) => {
  const match = /^(\d+)\s*([a-z]*)$/i.exec(text.trim())
  const unit = match && SIZE_UNITS_BYTES[match[2]!.toLowerCase()]
  if (!match || !unit) {
    context.addIssue({ code: 'custom', message: 'a size such as 4096, 64KiB, 5GiB' })
    return z.NEVER
  }
  return Number(match[1]) * unit
})

export const port = z.coerce.number().int().min(0).max(65_535)

export const flag = z
  .enum(['true', 'false', '1', '0'])
  .transform((text) => text === 'true' || text === '1')

export const logLevel = z
  .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
  .default('info')

/** `a, b,,c` to `['a', 'b', 'c']`. */
export const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
)

/**
 * Reads secrets given as files: for `NAME_FILE=/run/secrets/x` the content of the file stands for
 * `NAME`. Giving both is a mistake. A trailing newline is not part of a secret.
 */
function withFiles(env: Env, names: readonly string[], problems: string[]): Env {
  const merged: Record<string, string | undefined> = { ...env }
  for (const name of names) {
    const file = env[`${name}_FILE`]
    if (!file) continue
    if (env[name]) {
      problems.push(`${name}: give either ${name} or ${name}_FILE, not both`)
      continue
    }
    try {
      merged[name] = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
    } catch (error) {
      const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
      problems.push(`${name}_FILE: cannot read ${file} (${reason})`)
    }
  }
  return merged
}

/**
 * Parses the environment once. Empty variables count as absent. Every problem is reported in one
 * InvalidConfigError, a line each, naming the variable and never its value.
 */
export function parseEnv<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  env: Env,
): z.output<z.ZodObject<Shape>> {
  const problems: string[] = []
  const names = Object.keys(schema.shape)
  const merged = withFiles(env, names, problems)
  const present = Object.fromEntries(
    names.filter((name) => merged[name]).map((name) => [name, merged[name]]),
  )
  const result = schema.safeParse(present)
  if (!result.success) {
    for (const issue of result.error.issues) {
      problems.push(`${issue.path.join('.')}: ${issue.message}`)
    }
  }
  if (problems.length > 0 || !result.success) {
    throw new InvalidConfigError(`The configuration is not valid:\n  ${problems.join('\n  ')}`)
  }
  return result.data
}
