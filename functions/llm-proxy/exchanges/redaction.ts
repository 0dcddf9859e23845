import { z } from 'zod'

import { REDACTIONS_MAX } from './constants.ts'

type Part = 'request' | 'response'

/** `messages.*.content`, `**.password`: names, `*` for any one, `**` for any number of them. */
const jsonPath = z
  .string()
  .min(1)
  .max(512)
  .transform((text) => text.split('.'))
  .refine((steps) => steps.every((step) => step !== ''), 'a path such as messages.*.content')

const pattern = z.string().transform((text, context) => {
  try {
    return new RegExp(text, 'gu')
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : '' })
    return z.NEVER
  }
})

const common = {
  replacement: z.string().default('[redacted]'),
  in: z.enum(['request', 'response', 'both']).default('both'),
}

export const redactionSchema = z.union([
  z.strictObject({ pattern, ...common }),
  z.strictObject({ path: jsonPath, ...common }),
])

export const redactionsSchema = z.array(redactionSchema).max(REDACTIONS_MAX)

export type Redaction = z.infer<typeof redactionSchema>

/** Bytes that rules may have changed; null: they are no text, so nothing can be taken out. */
export type Redacted = { bytes: Buffer; redacted: boolean } | null

/**
 * Takes out of a body what rules name, before it is stored. Paths work on JSON and on the JSON of
 * each event of a stream; patterns work on the text as it is, and so do not see what a stream cuts
 * in two.
 */
export function redact(bytes: Buffer, part: Part, rules: readonly Redaction[]): Redacted {
  const ours = rules.filter((rule) => rule.in === 'both' || rule.in === part)
  if (ours.length === 0 || bytes.length === 0) return { bytes, redacted: false }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
  let changed = redactPaths(text, ours)
  for (const rule of ours) {
    if ('pattern' in rule) changed = changed.replace(rule.pattern, () => rule.replacement)
  }
  if (changed === text) return { bytes, redacted: false }
  return { bytes: Buffer.from(changed), redacted: true }
}

function redactPaths(text: string, rules: readonly Redaction[]): string {
  const paths = rules.filter((rule) => 'path' in rule)
  if (paths.length === 0) return text
  const whole = redactJSON(text, paths)
  if (whole !== null) return whole
  return text.replace(/^(data: ?)(.*)$/gmu, (line, prefix: string, data: string) => {
    const event = redactJSON(data, paths)
    return event === null ? line : prefix + event
  })
}

/** Null where the text is no JSON; the text itself where nothing was found in it. */
function redactJSON(
  text: string,
  rules: readonly { path: string[]; replacement: string }[],
): string | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  let found = false
  for (const { path, replacement } of rules) {
    const [changed, any] = replaceAt(value, path, replacement)
    value = changed
    found ||= any
  }
  return found ? JSON.stringify(value) : text
}

/** The value with the replacement at every place of the path, and whether there was one. */
function replaceAt(
  value: unknown,
  [step, ...rest]: readonly string[],
  replacement: string,
): [unknown, boolean] {
  if (step === undefined) return [replacement, true]
  if (typeof value !== 'object' || value === null) return [value, false]
  let found = false
  const within = (child: unknown, path: readonly string[]): unknown => {
    const [changed, any] = replaceAt(child, path, replacement)
    found ||= any
    return changed
  }
  const visit = (name: string, child: unknown): unknown => {
    let changed = child
    if (step === '**') {
      changed = within(changed, [step, ...rest])
      if (rest[0] === name || rest[0] === '*') changed = within(changed, rest.slice(1))
    } else if (step === '*' || step === name) changed = within(changed, rest)
    return changed
  }
  const result = Array.isArray(value)
    ? value.map((child, index) => visit(String(index), child))
    : Object.fromEntries(Object.entries(value).map(([name, child]) => [name, visit(name, child)]))
  return [result, found]
}
