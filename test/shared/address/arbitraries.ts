import fc from 'fast-check'

import type { Address } from '../../../shared/address/address.ts'

const LABEL_FIRST = 'abcdefghijklmnopqrstuvwxyz0123456789'

const label = fc
  .tuple(
    fc.constantFrom(...LABEL_FIRST),
    fc.string({ unit: fc.constantFrom(...LABEL_FIRST, '-', '_', '.'), maxLength: 62 }),
  )
  .map(([first, rest]) => first + rest)

/** Characters that a careless parser confuses with structure, among those any person writes. */
const trickyUnit = fc.constantFrom(...'%?#@:*+&=;., ~\'()[]{}<>|^`"ab2Fe', 'ü', '€', '𝄞', '\ufeff')

/** Any Unicode text that a path or fragment may hold, in NFC as the parser gives it. */
const text = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
    fc.string({ unit: trickyUnit, minLength: 1, maxLength: 12 }),
  )
  .map((string) => string.normalize('NFC').replaceAll(/[\p{Cc}\\]/gu, '_'))

const segment = text
  .map((string) => string.replaceAll('/', '_'))
  .map((string) => (string === '.' || string === '..' ? `_${string}` : string))

// Mostly short, and sometimes up to the limits of depth and size; the filter drops what is beyond.
const path = fc
  .oneof(
    { weight: 9, arbitrary: fc.array(segment, { minLength: 1, maxLength: 6 }) },
    { weight: 1, arbitrary: fc.array(segment, { minLength: 1, maxLength: 32 }) },
  )
  .map((segments) => segments.join('/'))
  .filter((joined) => Buffer.byteLength(joined) <= 1024)

const at = fc
  .date({
    min: new Date('0000-01-01T00:00:00.000Z'),
    max: new Date('9999-12-31T23:59:59.999Z'),
    noInvalidDate: true,
  })
  .map((date) => date.toISOString())

const versionChoice = fc.oneof(
  fc.constant({}),
  fc.record({ version: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }) }),
  fc.record({ at }),
)

const labels = fc.record(
  { agent: label, role: label, project: label, task: label },
  { requiredKeys: ['agent', 'project'], noNullPrototype: true },
)

const semantic = fc
  .tuple(
    labels,
    fc.record({ path, fragment: text }, { requiredKeys: ['path'], noNullPrototype: true }),
    versionChoice,
  )
  .map(([names, rest, choice]) => ({ kind: 'semantic' as const, ...names, ...rest, ...choice }))
  .filter(({ fragment }) => fragment === undefined || Buffer.byteLength(fragment) <= 240)

const hash = fc.string({
  unit: fc.constantFrom(...'0123456789abcdef'),
  minLength: 64,
  maxLength: 64,
})

const content = fc.record(
  { kind: fc.constant('content' as const), hash, path },
  { requiredKeys: ['kind', 'hash'], noNullPrototype: true },
)

/** Every valid address, as `parseAddress` gives it. */
export const address: fc.Arbitrary<Address> = fc.oneof(
  { weight: 4, arbitrary: semantic },
  { weight: 1, arbitrary: content },
)

/** Drawn from so little that two of them are often the same. */
const tiny = fc.constantFrom('a', 'b')

export const crowdedAddress: fc.Arbitrary<Address> = fc.oneof(
  fc
    .tuple(
      fc.record(
        { agent: tiny, role: tiny, project: tiny, task: tiny },
        { requiredKeys: ['agent', 'project'], noNullPrototype: true },
      ),
      fc.record(
        { path: fc.constantFrom('a', 'a/a', 'a%2Fa', 'a:a', '*'), fragment: tiny },
        { requiredKeys: ['path'], noNullPrototype: true },
      ),
      fc.constantFrom({}, { version: 1 }, { at: '2026-11-23T09:00:00.000Z' }),
    )
    .map(([names, rest, choice]) => ({ kind: 'semantic' as const, ...names, ...rest, ...choice })),
  fc.record(
    {
      kind: fc.constant('content' as const),
      hash: fc.constantFrom('0'.repeat(64), 'a'.repeat(64)),
      path: tiny,
    },
    { requiredKeys: ['kind', 'hash'], noNullPrototype: true },
  ),
)
