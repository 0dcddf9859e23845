import { NotSupportedError } from '../../shared/errors.ts'

/** @throws NotSupportedError where a platform runs the functions, not this process */
export function here<Part>(part: Part | null): Part {
  if (part !== null) return part
  throw new NotSupportedError('The functions run on a platform: this is done there.')
}
