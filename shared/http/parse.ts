import type { z } from 'zod'

import { InvalidRequestError } from '../errors.ts'

/** Checks a query or a JSON body. @throws InvalidRequestError naming the first field at fault */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value ?? {})
  if (result.success) return result.data
  const [issue] = result.error.issues
  const where = issue?.path.length ? `${issue.path.join('.')}: ` : ''
  throw new InvalidRequestError(
    `The request is not valid: ${where}${issue?.message ?? 'unreadable'}.`,
  )
}
