import { InvalidArgumentError } from 'commander'

import { duration } from '../../shared/config/env.ts'

/** The value of an option such as 12h or 90d, in milliseconds. @throws InvalidArgumentError */
export function parseDuration(text: string): number {
  const result = duration.safeParse(text)
  if (result.success && result.data >= 1000) return result.data
  throw new InvalidArgumentError('It is a duration such as 12h or 90d.')
}
