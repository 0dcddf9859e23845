import { z } from 'zod'

import { BUDGET_USD_MAX, RULES_MAX } from './constants.ts'
import type { Bounds, Share } from './limit-store.ts'
import type { CallScope } from './limits.ts'

/** What a rule counts separately, and what it may be limited to. */
const DIMENSIONS = {
  token: 'tokenId',
  subject: 'subject',
  project: 'project',
  agent: 'agent',
  model: 'model',
} as const satisfies Record<string, keyof CallScope>

type Dimension = keyof typeof DIMENSIONS

const dimension = z.enum(Object.keys(DIMENSIONS) as [Dimension, ...Dimension[]])

const count = z.int().min(0).max(1e12)

/** Dollars as people write them, to billionths. */
const usd = z
  .number()
  .min(0)
  .max(BUDGET_USD_MAX)
  .transform((dollars) => BigInt(Math.round(dollars * 1e9)))

const patterns = z
  .union([z.string(), z.array(z.string()).min(1).max(100)])
  .transform((given) => [given].flat())

const ruleSchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'a name such as apollo-day'),
    per: z
      .union([z.literal('cluster'), dimension, z.array(dimension).min(1)])
      .transform((per) => (per === 'cluster' ? [] : [per].flat())),
    match: z.partialRecord(dimension, patterns).default({}),
    requestsPerMinute: count.exactOptional(),
    tokensPerMinute: count.exactOptional(),
    concurrentRequests: count.exactOptional(),
    usdPerDay: usd.exactOptional(),
    usdPerMonth: usd.exactOptional(),
  })
  .transform(({ usdPerDay, usdPerMonth, name, per, match, ...bounds }): Rule => ({
    ...{ name, per, match },
    bounds: {
      ...bounds,
      ...(usdPerDay !== undefined && { nanoUsdPerDay: usdPerDay }),
      ...(usdPerMonth !== undefined && { nanoUsdPerMonth: usdPerMonth }),
    },
  }))
  .refine(({ bounds }) => Object.keys(bounds).length > 0, 'the rule limits nothing')

const rulesSchema = z.strictObject({
  rules: z
    .array(ruleSchema)
    .max(RULES_MAX)
    .refine((rules) => new Set(rules.map(({ name }) => name)).size === rules.length, {
      error: 'two rules have the same name',
    }),
})

export interface Rule {
  /** Also part of the key: a rule that is renamed counts anew. */
  name: string
  per: readonly Dimension[]
  match: Partial<Record<Dimension, readonly string[]>>
  bounds: Bounds
}

/** @throws ZodError, SyntaxError */
export function parseRules(text: string): readonly Rule[] {
  return rulesSchema.parse(JSON.parse(text)).rules
}

/** `RATE_LIMIT_RPM`: requests a minute of the whole cluster. */
export function clusterRule(requestsPerMinute: number): Rule {
  return { name: 'rate-limit-rpm', per: [], match: {}, bounds: { requestsPerMinute } }
}

export interface RuleShare extends Share {
  rule: Rule
}

/** The rules that concern a call, each with the key it counts under for this caller. */
export function sharesOf(rules: readonly Rule[], scope: CallScope): RuleShare[] {
  return rules
    .filter(({ match }) =>
      Object.entries(match).every(([name, given]) =>
        given.some((pattern) => matches(pattern, scope[DIMENSIONS[name as Dimension]])),
      ),
    )
    .map((rule) => ({ rule, key: keyOf(rule, scope), bounds: rule.bounds }))
}

/** Encoded, so that no name of a model can be read as another key. */
function keyOf({ name, per }: Rule, scope: CallScope): string {
  const parts = per.map((one) => `${one}=${encodeURIComponent(scope[DIMENSIONS[one]])}`)
  return [name, ...parts].join(':')
}

/** A literal, or with `*` at its end all that begins so. */
function matches(pattern: string, text: string): boolean {
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern
}

/** What a refusal says of a rule: who shares it, not who else uses it. */
export function describeRule({ name, per }: Rule): string {
  return per.length === 0 ? `${name} of the cluster` : `${name} by ${per.join(' and ')}`
}
