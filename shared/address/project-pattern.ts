import { InvalidAddressError } from '../errors.ts'
import { ADDRESS_LABEL_CHARS_MAX } from '../limits.ts'
import { checkLabel } from './labels.ts'

/** Valid as it stands: a canonical label, whatever else `checkLabel` would fold. */
const PLAIN_LABEL = /^[a-z0-9][a-z0-9._-]{0,62}$/

/**
 * Which projects a token covers: `*` for all, `apollo` for one, `apollo-*` for all that begin with
 * `apollo-`.
 * @throws InvalidAddressError
 */
export function parseProjectPattern(text: string): string {
  if (text === '*') return text
  if (typeof text !== 'string' || !text.endsWith('*')) return checkLabel('project', text)
  if (text.length > ADDRESS_LABEL_CHARS_MAX) {
    throw new InvalidAddressError(
      `The project pattern is longer than ${ADDRESS_LABEL_CHARS_MAX} characters.`,
    )
  }
  return `${checkLabel('project', text.slice(0, -1))}*`
}

/**
 * Decides about access, so it fails closed and never throws: a pattern or a project that is not
 * valid matches nothing. A `*` given as the project is not valid; a search over several projects
 * has to ask for every project it found.
 */
export function projectMatches(pattern: string, project: string): boolean {
  // What was parsed already is the usual case, and it needs no second look.
  if (pattern === '*' && typeof project === 'string' && PLAIN_LABEL.test(project)) return true
  try {
    const wanted = parseProjectPattern(pattern)
    const label = checkLabel('project', project)
    return wanted.endsWith('*') ? label.startsWith(wanted.slice(0, -1)) : label === wanted
  } catch (error) {
    if (error instanceof InvalidAddressError) return false
    throw error
  }
}
