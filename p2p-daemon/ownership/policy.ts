import { z } from 'zod'

import { parseAddress } from '../../shared/address/address.ts'
import { parseProjectPattern, projectMatches } from '../../shared/address/project-pattern.ts'
import {
  InvalidAddressError,
  InvalidRecordError,
  InvalidRequestError,
} from '../../shared/errors.ts'
import { publicKeyOf } from '../../shared/record/record.ts'
import { AUTHORS_MAX, OWNERSHIP_NAME, POLICY_BYTES_MAX, RULES_MAX } from './constants.ts'

const labelPattern = z
  .string()
  .refine(isLabelPattern, 'not *, a label or the beginning of one and *')
const authors = z
  .array(z.string().refine(isPeerId, 'not an Ed25519 peer id'))
  .min(1)
  .max(AUTHORS_MAX)

const policySchema = z.strictObject({
  rules: z
    .array(
      z.strictObject({
        /** `apollo`, `apollo-*` or `*`. */
        project: labelPattern,
        /** The same of the agent; absent: every agent. */
        agent: labelPattern.exactOptional(),
        /** Nodes that may write there. */
        authors,
      }),
    )
    .max(RULES_MAX),
  /** Nodes that may write the next policy; absent: every member. */
  editors: authors.exactOptional(),
})

/** Who may write which addresses. What no rule speaks of, every member may write. */
export type Policy = z.infer<typeof policySchema>

/** @throws InvalidRequestError naming the field that is wrong */
export function parsePolicy(bytes: Uint8Array): Policy {
  if (bytes.length > POLICY_BYTES_MAX) {
    throw new InvalidRequestError(`A policy has at most ${POLICY_BYTES_MAX} bytes.`)
  }
  try {
    return policySchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    const [issue] = error instanceof z.ZodError ? error.issues : []
    const where = issue ? `${issue.path.join('.')}: ${issue.message}` : 'it is no JSON'
    throw new InvalidRequestError(`The policy is not valid: ${where}.`, { cause: error })
  }
}

export function encodePolicy(policy: Policy): Buffer {
  return Buffer.from(`${JSON.stringify(policy, null, 2)}\n`)
}

/** True where no rule speaks of the address, or one that does names the author. */
export function mayWrite(policy: Policy, name: string, author: string): boolean {
  if (name === OWNERSHIP_NAME) return policy.editors?.includes(author) ?? true
  const address = parseAddress(name)
  if (address.kind !== 'semantic') return false
  const matching = policy.rules.filter(
    ({ project, agent = '*' }) =>
      projectMatches(project, address.project) && projectMatches(agent, address.agent),
  )
  return matching.length === 0 || matching.some((rule) => rule.authors.includes(author))
}

function isLabelPattern(text: string): boolean {
  try {
    return parseProjectPattern(text) === text
  } catch (error) {
    if (error instanceof InvalidAddressError) return false
    throw error
  }
}

function isPeerId(text: string): boolean {
  try {
    return publicKeyOf(text) !== undefined
  } catch (error) {
    if (error instanceof InvalidRecordError) return false
    throw error
  }
}
