import fc from 'fast-check'

import type { Address, SemanticAddress } from '../../../shared/address/address.ts'
import { ADDRESS_CHARS_MAX } from '../../../shared/limits.ts'
import { address } from './arbitraries.ts'

/** How a person, a browser or a script may write an address. */
interface Style {
  start: string
  upperCase: boolean
  decomposed: boolean
  encodeEverything: boolean
  lowerHex: boolean
  otherZone: boolean
}

const style: fc.Arbitrary<Style> = fc.record({
  start: fc.constantFrom('', '/', 'bzzz://', 'BZZZ://', '/bzzz://'),
  upperCase: fc.boolean(),
  decomposed: fc.boolean(),
  encodeEverything: fc.boolean(),
  lowerHex: fc.boolean(),
  otherZone: fc.boolean(),
})

/** An address and one of the many texts that mean it. */
export const spelled = fc
  .tuple(address, style)
  .map(([meant, how]) => ({ meant, text: spell(meant, how) }))
  .filter(({ text }) => text.length <= ADDRESS_CHARS_MAX)

function spell(meant: Address, how: Style): string {
  if (meant.kind === 'content') {
    const root = `b3/${meant.hash}`
    const tail = meant.path === undefined ? '' : `/${spellPath(meant.path, how)}`
    return how.start + (how.upperCase ? root.toUpperCase() : root) + tail
  }
  const labels = spellLabels(meant)
  const fragment = meant.fragment === undefined ? '' : `#${encode(meant.fragment, how, /%/g)}`
  return [
    how.start,
    how.upperCase ? labels.toUpperCase() : labels,
    `/${spellPath(meant.path, how)}`,
    spellQuery(meant, how),
    fragment,
  ].join('')
}

function spellLabels({ agent, role, project, task }: SemanticAddress): string {
  return [agent, role && `:${role}`, '@', project, task && `:${task}`].join('')
}

function spellPath(path: string, how: Style): string {
  return path
    .split('/')
    .map((segment) => encode(segment, how, /[%?#*]/g))
    .join('/')
}

/** `needed` are the characters that mean something else when they are not encoded. */
function encode(text: string, how: Style, needed: RegExp): string {
  const form = how.decomposed ? text.normalize('NFD') : text
  if (!how.encodeEverything) return form.replaceAll(needed, (character) => hex(character, how))
  return hex(form, how)
}

function hex(text: string, { lowerHex }: Style): string {
  const digits = Buffer.from(text).toString('hex')
  return (lowerHex ? digits : digits.toUpperCase()).replaceAll(/../g, '%$&')
}

function spellQuery({ version, at }: SemanticAddress, how: Style): string {
  if (version !== undefined) return `?v=${version}`
  if (at === undefined) return ''
  const local = new Date(Date.parse(at) + 90 * 60_000).toISOString().replace('Z', '+01:30')
  const moment = how.otherZone && /^\d{4}-/.test(local) ? local : at
  return `?at=${how.encodeEverything ? hex(moment, how) : moment}`
}
