import { z } from 'zod'

import { sumUsage, USAGE_KEYS, type UsageSum } from '../../../shared/llm/usage-store.ts'
import { USAGE_OFFSET_MAX, USAGE_SINCE_DEFAULT_MS } from '../constants.ts'
import { requireDatabase } from '../services.ts'
import { labelField, limitField, momentField } from './fields.ts'
import { fitting } from './result.ts'
import { defineTool } from './tool.ts'

const NANO = 1e9

const sumShape = z.object({
  keys: z.record(z.string(), z.string()).describe('What this row is of: the fields of by'),
  calls: z.int(),
  failed_calls: z.int(),
  input_tokens: z.int(),
  cached_input_tokens: z.int(),
  output_tokens: z.int(),
  reasoning_tokens: z.int(),
  cost_usd: z.number(),
  unpriced_calls: z.int().describe('Counted as 0, because their model has no price'),
})

function toShape(sum: UsageSum): z.input<typeof sumShape> {
  return {
    keys: sum.keys as Record<string, string>,
    calls: sum.calls,
    failed_calls: sum.failedCalls,
    input_tokens: sum.inputTokens,
    cached_input_tokens: sum.cachedInputTokens,
    output_tokens: sum.outputTokens,
    reasoning_tokens: sum.reasoningTokens,
    cost_usd: Number(sum.costNanoUsd) / NANO,
    unpriced_calls: sum.unpricedCalls,
  }
}

export const usageReport = defineTool({
  name: 'usage_report',
  title: 'Report model usage',
  description:
    'What model calls of the projects your token covers used and cost, by up to three of model, ' +
    'agent, project, subject, upstream and day, the dearest first. Of the last 30 days unless ' +
    'since says otherwise. Calls of the last second may be missing.',
  toolsets: ['llm'],
  scope: 'usage:read',
  kind: 'read',
  callsPerMinuteMax: 60,
  input: z.strictObject({
    by: z.array(z.enum(USAGE_KEYS)).min(1).max(3).default(['model']),
    since: momentField.optional(),
    until: momentField.optional(),
    project: labelField.optional(),
    agent: labelField.optional(),
    limit: limitField,
    offset: z.int().min(0).max(USAGE_OFFSET_MAX).default(0),
  }),
  output: z.object({
    since: z.string(),
    items: z.array(sumShape),
    next_offset: z.int().nullable().describe('null: these were the last'),
  }),
  example: {
    arguments: { by: ['model'] },
    answer: {
      since: '2026-10-24T12:00:00.000Z',
      items: [
        {
          keys: { model: 'gpt-5' },
          calls: 12,
          failed_calls: 0,
          input_tokens: 48_000,
          cached_input_tokens: 8_000,
          output_tokens: 6_000,
          reasoning_tokens: 1_000,
          cost_usd: 0.1125,
          unpriced_calls: 0,
        },
      ],
      next_offset: null,
    },
  },
  async run({ by, since, until, project, agent, limit, offset }, call) {
    const { projects } = call.caller.claims
    const from = since === undefined ? Date.now() - USAGE_SINCE_DEFAULT_MS : Date.parse(since)
    const told = new Date(from).toISOString()
    if (projects.length === 0) return { result: { since: told, items: [], next_offset: null } }
    const page = await sumUsage(requireDatabase(call), {
      ...{ by: [...new Set(by)], from: new Date(from), projects, project, agent, limit, offset },
      ...(until !== undefined && { to: new Date(until) }),
    })
    const items = fitting(page.items.map(toShape))
    const next = items.length < page.items.length ? offset + items.length : page.next
    return { result: { since: told, items: [...items], next_offset: next } }
  },
})
