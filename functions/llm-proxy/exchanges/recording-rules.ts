import { z } from 'zod'

import { projectMatches } from '../../../shared/address/project-pattern.ts'
import type { RecordingMode } from './recorder.ts'
import { redactionsSchema, type Redaction } from './redaction.ts'

const mode = z.enum(['off', 'metadata', 'full'])

const rulesSchema = z.strictObject({
  default: mode.default('full'),
  /** By project or by what it begins with: `apollo`, `apollo-*`. */
  projects: z.record(z.string(), mode).default({}),
  redact: redactionsSchema.default([]),
})

/** What is recorded of whom, and what is taken out first. */
export interface RecordingRules {
  modeOf(project: string): RecordingMode
  redactions: readonly Redaction[]
}

/** @throws ZodError, SyntaxError */
export function parseRecordingRules(text: string): RecordingRules {
  const { default: fallback, projects, redact: redactions } = rulesSchema.parse(JSON.parse(text))
  // A project by its name goes before those by a pattern, a long pattern before a short one.
  const entries = Object.entries(projects).toSorted(([left], [right]) => rank(right) - rank(left))
  const modeOf = (project: string): RecordingMode =>
    entries.find(([pattern]) => projectMatches(pattern, project))?.[1] ?? fallback
  return { modeOf, redactions }
}

function rank(pattern: string): number {
  return pattern.endsWith('*') ? pattern.length : 1_000
}

/** Without a file, one mode for all. */
export function sameForAll(only: RecordingMode): RecordingRules {
  return { modeOf: () => only, redactions: [] }
}
