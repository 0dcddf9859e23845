import { InvalidAddressError } from '../errors.ts'
import { decodePercent } from './percent.ts'

/** Which version of a record is meant: by number, or the newest one at a moment. */
export interface VersionChoice {
  /** An integer from 1 to Number.MAX_SAFE_INTEGER. */
  version?: number
  /** RFC 3339 in UTC with milliseconds, as `Date.prototype.toISOString` gives it. */
  at?: string
}

const VERSION_PATTERN = /^[1-9][0-9]*$/
const HOUR_MINUTE = '(?:[01]\\d|2[0-3]):[0-5]\\d'
const AT_PATTERN = new RegExp(
  `^(\\d{4}-\\d\\d-\\d\\d)[Tt](${HOUR_MINUTE}:[0-5]\\d)(\\.\\d+)?([Zz]|[+-]${HOUR_MINUTE})$`,
)
const FOUR_DIGIT_YEAR = /^\d{4}-/

/** @throws InvalidAddressError. `query` is what stands between `?` and `#`. */
export function parseQuery(query: string): VersionChoice {
  const choice: VersionChoice = {}
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=')
    const key = equals === -1 ? pair : pair.slice(0, equals)
    if (key !== 'v' && key !== 'at') {
      throw new InvalidAddressError('The query has a key other than v and at.')
    }
    if (choice.version !== undefined || choice.at !== undefined) {
      throw new InvalidAddressError('The query names more than one version: give one v or one at.')
    }
    const value = equals === -1 ? '' : decodePercent('query', pair.slice(equals + 1))
    if (key === 'v') choice.version = parseVersion(value)
    else choice.at = normalizeAt(value)
  }
  return choice
}

export function checkVersionChoice({ version, at }: VersionChoice): VersionChoice {
  if (version !== undefined && at !== undefined) {
    throw new InvalidAddressError('The query names more than one version: give one v or one at.')
  }
  if (version !== undefined) return { version: parseVersion(String(version)) }
  return at === undefined ? {} : { at: normalizeAt(at) }
}

export function formatQuery({ version, at }: VersionChoice): string {
  if (version !== undefined) return `?v=${version}`
  return at === undefined ? '' : `?at=${at}`
}

function parseVersion(text: string): number {
  const version = VERSION_PATTERN.test(text) ? Number(text) : 0
  if (version < 1 || !Number.isSafeInteger(version)) {
    throw new InvalidAddressError(
      `The version (v) is not an integer from 1 to ${Number.MAX_SAFE_INTEGER}.`,
    )
  }
  return version
}

/**
 * Digits beyond the millisecond are cut off, never rounded up: the moment asked for must not move
 * past a version that was written after it. A leap second (`:60`) has no Date and is refused.
 */
function normalizeAt(text: string): string {
  const match = AT_PATTERN.exec(text)
  if (match === null) {
    throw new InvalidAddressError('The moment (at) is not RFC 3339 with a time zone.')
  }
  const [, day = '', time = '', fraction = '', zone = ''] = match
  // Date rolls 30 February over to March, so the day is read back.
  const midnight = new Date(`${day}T00:00:00.000Z`)
  if (Number.isNaN(midnight.getTime()) || midnight.toISOString().slice(0, 10) !== day) {
    throw new InvalidAddressError('The moment (at) names a day that does not exist.')
  }
  const milliseconds = fraction.slice(1, 4).padEnd(3, '0')
  const moment = new Date(`${day}T${time}.${milliseconds}${zone.toUpperCase()}`)
  if (Number.isNaN(moment.getTime()) || !FOUR_DIGIT_YEAR.test(moment.toISOString())) {
    throw new InvalidAddressError('The moment (at) is outside the years 0000 to 9999 in UTC.')
  }
  return moment.toISOString()
}
