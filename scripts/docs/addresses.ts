import { readFileSync } from 'node:fs'

import { FRAGMENT_BYTES_MAX } from '../../shared/address/constants.ts'
import {
  ADDRESS_CHARS_MAX,
  ADDRESS_LABEL_CHARS_MAX,
  ADDRESS_PATH_BYTES_MAX,
  ADDRESS_PATH_SEGMENTS_MAX,
} from '../../shared/limits.ts'
import type { Refused } from '../../test/shared/address/examples.ts'
import {
  ACCEPTED,
  PATTERNS,
  PATTERNS_REFUSED,
  REFUSED,
} from '../../test/shared/address/examples.ts'

export const file = 'docs/ADDRESSES.md'

const GENERATED = /(<!-- generated: ([a-z ]+) -->\n)[^]*?(<!-- end -->)/g

/** A format character or a combining mark would disappear or move in the table. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{M}\u212a]/gu

const TABLES: Record<string, () => string> = {
  accepted: accepted,
  refused: () => refused(REFUSED),
  searches: searches,
  'refused searches': () => refused(PATTERNS_REFUSED),
  limits: limits,
}

/** The prose of the file is written by hand; what stands between the marks is written anew. */
export function render(): string {
  const written = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  const missing = new Set(Object.keys(TABLES))
  const rendered = written.replaceAll(GENERATED, (_, begin: string, name: string, end: string) => {
    const draw = TABLES[name]
    if (draw === undefined) throw new Error(`${file} asks for a table there is none of: ${name}.`)
    missing.delete(name)
    return `${begin}\n${draw()}\n\n${end}`
  })
  if (missing.size > 0) throw new Error(`${file} has no place for: ${[...missing].join(', ')}.`)
  return rendered
}

function accepted(): string {
  const rows = ACCEPTED.map(({ input, canonical, note, shown }) => [
    code(shown ?? input),
    canonical === input ? 'as written' : code(canonical),
    note,
  ])
  return table(['written', 'canonical', 'shows'], rows)
}

function refused(examples: readonly Refused[]): string {
  const rows = examples.map(({ input, reason, shown }) => [code(shown ?? input), prose(reason)])
  return table(['written', 'reason'], rows)
}

function searches(): string {
  const rows = PATTERNS.map(({ pattern, matches, passesOver, note }) => [
    code(pattern),
    matches.map(code).join(', '),
    passesOver.map(code).join(', '),
    note,
  ])
  return table(['search', 'finds', 'passes over', 'shows'], rows)
}

function limits(): string {
  const rows = [
    ['the text as it comes in', `${ADDRESS_CHARS_MAX} characters`],
    ['a label', `${ADDRESS_LABEL_CHARS_MAX} characters`],
    ['a path, decoded', `${ADDRESS_PATH_BYTES_MAX} bytes`],
    ['a path', `${ADDRESS_PATH_SEGMENTS_MAX} segments`],
    ['a fragment, decoded', `${FRAGMENT_BYTES_MAX} bytes`],
    ['a version', String(Number.MAX_SAFE_INTEGER)],
  ]
  return table(['what', 'at most'], rows)
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

function code(text: string): string {
  if (text === '') return '(nothing)'
  return `\`${cell(text.search(UNPRINTABLE) === -1 ? text : escaped(text))}\``
}

function escaped(text: string): string {
  const escape = (character: string) =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return `"${text.replaceAll(UNPRINTABLE, escape)}"`
}

/** A bar ends a cell of a Markdown table, inside code as well. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

/** Outside of code `<` begins HTML and `*` emphasis. */
function prose(text: string): string {
  return cell(text).replaceAll('<', '&lt;').replaceAll('*', '\\*')
}
