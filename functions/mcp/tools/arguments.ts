import type { z } from 'zod'

import { InvalidRequestError } from '../../../shared/errors.ts'
import { ARGUMENT_ELEMENTS_MAX } from '../constants.ts'

/** Problems that are told at once; a model mends one after the other anyway. */
const PROBLEMS_MAX = 5

/** @throws InvalidRequestError naming the fields */
export function parseArguments<Schema extends z.ZodObject>(
  schema: Schema,
  args: unknown,
): z.output<Schema> {
  if (hasMoreElements(args, ARGUMENT_ELEMENTS_MAX)) {
    throw new InvalidRequestError(
      `The arguments have more than ${ARGUMENT_ELEMENTS_MAX} members and elements.`,
    )
  }
  const parsed = schema.safeParse(args ?? {})
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues
    .slice(0, PROBLEMS_MAX)
    .map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
  throw new InvalidRequestError(`The arguments do not fit: ${problems.join('; ')}.`)
}

/** Stops counting at the bound, so that it costs no more than the bound. */
export function hasMoreElements(value: unknown, max: number): boolean {
  let count = 0
  const open: unknown[] = [value]
  while (open.length > 0) {
    const node = open.pop()
    if (typeof node !== 'object' || node === null) continue
    for (const key in node) {
      count += 1
      if (count > max) return true
      const child = (node as Record<string, unknown>)[key]
      if (typeof child === 'object' && child !== null) open.push(child)
    }
  }
  return false
}
