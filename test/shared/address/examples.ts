/**
 * What the parser takes and what it refuses, with the words of the refusal. The table tests run
 * over these lists and docs/ADDRESSES.md prints them.
 */
export interface Accepted {
  input: string
  canonical: string
  /** What the example shows. */
  note: string
  /** Stands for an input that is too long to print. */
  shown?: string
}

export interface Refused {
  input: string
  reason: string
  shown?: string
}

const HASH = 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'
const X64 = 'x'.repeat(64)
const DEEP_33 = Array.from({ length: 33 }, () => 'd').join('/')

export const ACCEPTED: readonly Accepted[] = [
  { input: `bzzz://b3/${HASH}`, canonical: `bzzz://b3/${HASH}`, note: 'content' },
  { input: `b3/${HASH}`, canonical: `bzzz://b3/${HASH}`, note: 'content without the scheme' },
  {
    input: `BZZZ://B3/${HASH.toUpperCase()}`,
    canonical: `bzzz://b3/${HASH}`,
    note: 'case of scheme and hash is folded',
  },
  {
    input: `bzzz://b3/${HASH}/src/main.ts`,
    canonical: `bzzz://b3/${HASH}/src/main.ts`,
    note: 'a file of a manifest',
  },
  {
    input: 'bzzz://reviewer@apollo/plan.md',
    canonical: 'bzzz://reviewer@apollo/plan.md',
    note: 'the shortest semantic form',
  },
  {
    input: 'bzzz://reviewer:lead@apollo:task-42/plans/release.md',
    canonical: 'bzzz://reviewer:lead@apollo:task-42/plans/release.md',
    note: 'with role and task',
  },
  {
    input: '/reviewer@apollo/plan.md?v=3',
    canonical: 'bzzz://reviewer@apollo/plan.md?v=3',
    note: 'the raw path of an HTTP request',
  },
  {
    input: '/bzzz://reviewer@apollo/plan.md',
    canonical: 'bzzz://reviewer@apollo/plan.md',
    note: 'the same with the scheme in it',
  },
  {
    input: 'bzzz://Reviewer:LEAD@Apollo:T_1/Plan.md',
    canonical: 'bzzz://reviewer:lead@apollo:t_1/Plan.md',
    note: 'labels fold their case, paths keep it',
  },
  {
    input: 'bzzz://b3@apollo/plan.md',
    canonical: 'bzzz://b3@apollo/plan.md',
    note: 'an agent called b3 is still semantic',
  },
  {
    input: `bzzz://${'a'.repeat(63)}@b/c`,
    canonical: `bzzz://${'a'.repeat(63)}@b/c`,
    note: 'the longest label',
    shown: 'bzzz://<63 times a>@b/c',
  },
  {
    input: 'bzzz://a@b/%70lan%2Emd',
    canonical: 'bzzz://a@b/plan.md',
    note: 'needless encoding goes',
  },
  {
    input: 'bzzz://a@b/two words',
    canonical: 'bzzz://a@b/two%20words',
    note: 'what needs encoding is encoded',
  },
  {
    input: 'bzzz://a@b/%e2%82%ac',
    canonical: 'bzzz://a@b/%E2%82%AC',
    note: 'upper-case hexadecimal digits',
  },
  { input: 'bzzz://a@b/€', canonical: 'bzzz://a@b/%E2%82%AC', note: 'the same, not encoded' },
  {
    input: 'bzzz://a@b/u\u0308ber',
    canonical: 'bzzz://a@b/%C3%BCber',
    note: 'a letter with a combining mark becomes one character (NFC)',
  },
  { input: 'bzzz://a@b/\u00fcber', canonical: 'bzzz://a@b/%C3%BCber', note: 'the same, composed' },
  {
    input: 'bzzz://a@b/%252e%252e/x',
    canonical: 'bzzz://a@b/%252e%252e/x',
    note: 'decoded once: the segment is the text %2e%2e',
  },
  { input: 'bzzz://a@b/...', canonical: 'bzzz://a@b/...', note: 'three dots are a name' },
  {
    input: "bzzz://a@b/!$&'()+,;=:@~",
    canonical: "bzzz://a@b/!$&'()+,;=:@~",
    note: 'characters a path holds as they are',
  },
  { input: 'bzzz://a@b/x*y', canonical: 'bzzz://a@b/x%2Ay', note: 'a star is always encoded' },
  { input: 'bzzz://a@b/%2A%2A', canonical: 'bzzz://a@b/%2A%2A', note: 'two stars as a name' },
  {
    input: 'bzzz://a@b/c%3Fv=1',
    canonical: 'bzzz://a@b/c%3Fv=1',
    note: 'a question mark as a name',
  },
  { input: 'bzzz://a@b/c#part 2', canonical: 'bzzz://a@b/c#part%202', note: 'a fragment' },
  {
    input: 'bzzz://a@b/c?v=7#L10?/%23',
    canonical: 'bzzz://a@b/c?v=7#L10?/%23',
    note: 'version and fragment',
  },
  {
    input: 'bzzz://a@b/c?v=9007199254740991',
    canonical: 'bzzz://a@b/c?v=9007199254740991',
    note: 'the highest version',
  },
  {
    input: 'bzzz://a@b/c?at=2026-11-23T10:00:00+01:00',
    canonical: 'bzzz://a@b/c?at=2026-11-23T09:00:00.000Z',
    note: 'a moment is kept in UTC with milliseconds',
  },
  {
    input: 'bzzz://a@b/c?at=2026-11-23T10%3A00%3A00%2B01%3A00',
    canonical: 'bzzz://a@b/c?at=2026-11-23T09:00:00.000Z',
    note: 'the same, as HTTP clients encode it',
  },
  {
    input: 'bzzz://a@b/c?at=2026-11-23t09:00:00.9999999z',
    canonical: 'bzzz://a@b/c?at=2026-11-23T09:00:00.999Z',
    note: 'digits beyond milliseconds are cut off, not rounded',
  },
  {
    input: 'bzzz://a@b/c?at=2028-02-29T00:00:00Z',
    canonical: 'bzzz://a@b/c?at=2028-02-29T00:00:00.000Z',
    note: 'a leap day',
  },
]

const START = 'An address starts with <agent>@<project>/ or with b3/<hash>.'
const BAD_HASH = 'The hash of a content address is not 64 hexadecimal characters.'
const NO_PARTS = 'A content address has no ?query and no #fragment.'
const BAD_UTF8 = 'The path has a percent sequence that is not valid UTF-8.'
const DOTS = 'The path has a segment that is . or .., plain or encoded.'
const CONTROL = 'The path holds a control character.'
const BAD_VERSION = 'The version (v) is not an integer from 1 to 9007199254740991.'
const BAD_AT = 'The moment (at) is not RFC 3339 with a time zone.'
const NO_DAY = 'The moment (at) names a day that does not exist.'
const NO_YEAR = 'The moment (at) is outside the years 0000 to 9999 in UTC.'
const TWO_VERSIONS = 'The query names more than one version: give one v or one at.'
const BAD_KEY = 'The query has a key other than v and at.'

function badLabel(name: string): string {
  return `The ${name} is not made of a-z 0-9 - _ . starting with a letter or digit.`
}

export const REFUSED: readonly Refused[] = [
  { input: '', reason: START },
  { input: 'bzzz://', reason: START },
  { input: 'http://a@b/c', reason: START },
  { input: '//a@b/c', reason: START },
  { input: 'bzzz:///a@b/c', reason: START },
  { input: 'apollo/plan.md', reason: START },
  {
    input: 'a@b/'.padEnd(4097, 'c'),
    reason: 'The address is longer than 4096 characters.',
    shown: '<4,097 characters>',
  },
  { input: 'bzzz://b3', reason: BAD_HASH },
  { input: 'bzzz://b3/', reason: BAD_HASH },
  { input: `bzzz://b3/${HASH.slice(1)}`, reason: BAD_HASH },
  { input: `bzzz://b3/${HASH}0`, reason: BAD_HASH },
  { input: `bzzz://b3/${HASH.slice(1)}g`, reason: BAD_HASH },
  { input: `bzzz://b3/${HASH}/`, reason: 'The path is empty.' },
  { input: `bzzz://b3/${HASH}/a/../b`, reason: DOTS },
  { input: `bzzz://b3/${HASH}?v=1`, reason: NO_PARTS },
  { input: `bzzz://b3/${HASH}#part`, reason: NO_PARTS },
  { input: 'bzzz://a@b', reason: 'The address has no path.' },
  { input: 'bzzz://a@b/', reason: 'The path is empty.' },
  { input: 'bzzz://@b/c', reason: 'The agent is empty.' },
  { input: 'bzzz://a:@b/c', reason: 'The role is empty.' },
  { input: 'bzzz://a@/c', reason: 'The project is empty.' },
  { input: 'bzzz://a@b:/c', reason: 'The task is empty.' },
  { input: 'bzzz://a@b@c/d', reason: 'An address has one @ before its path.' },
  { input: 'bzzz://a:b:c@d/e', reason: 'The role holds a second colon.' },
  { input: 'bzzz://a@b:c:d/e', reason: 'The task holds a second colon.' },
  { input: 'bzzz://-a@b/c', reason: badLabel('agent') },
  { input: 'bzzz://a:.b@c/d', reason: badLabel('role') },
  { input: 'bzzz://a@b c/d', reason: badLabel('project') },
  { input: 'bzzz://a@%62/c', reason: badLabel('project') },
  { input: 'bzzz://a@b:t\u00e4sk/c', reason: badLabel('task') },
  { input: 'bzzz://\u212a@b/c', reason: badLabel('agent') },
  { input: 'bzzz://a\n@b/c', reason: badLabel('agent') },
  {
    input: `bzzz://a@${X64}/c`,
    reason: 'The project is longer than 63 characters.',
    shown: 'bzzz://a@<64 times x>/c',
  },
  { input: 'bzzz://*@b/c', reason: 'The agent is *, which is allowed in searches only.' },
  { input: 'bzzz://a@b:*/c', reason: 'The task is *, which is allowed in searches only.' },
  {
    input: 'bzzz://a@b/c/**',
    reason: 'The path ends with /**, which is allowed in searches only.',
  },
  { input: 'bzzz://a@b/**', reason: 'The path ends with /**, which is allowed in searches only.' },
  { input: 'bzzz://a@b/c/', reason: 'The path has an empty segment.' },
  { input: 'bzzz://a@b//c', reason: 'The path has an empty segment.' },
  { input: 'bzzz://a@b/./c', reason: DOTS },
  { input: 'bzzz://a@b/c/..', reason: DOTS },
  { input: 'bzzz://a@b/%2e%2E/c', reason: DOTS },
  { input: 'bzzz://a@b/.%2e', reason: DOTS },
  { input: 'bzzz://a@b/c%2Fd', reason: 'The path has an encoded slash.' },
  { input: 'bzzz://a@b/..%2f..%2fetc', reason: 'The path has an encoded slash.' },
  { input: 'bzzz://a@b/c%c0%af', reason: BAD_UTF8 },
  { input: 'bzzz://a@b/%ff', reason: BAD_UTF8 },
  { input: 'bzzz://a@b/%e2%82', reason: BAD_UTF8 },
  { input: 'bzzz://a@b/%ed%a0%80', reason: BAD_UTF8 },
  { input: 'bzzz://a@b/100%', reason: BAD_UTF8 },
  { input: 'bzzz://a@b/%zz', reason: BAD_UTF8 },
  { input: 'bzzz://a@b/\ud800', reason: 'The path holds half of a surrogate pair.' },
  { input: 'bzzz://a@b/c\\d', reason: 'The path holds a backslash.' },
  { input: 'bzzz://a@b/c%5cd', reason: 'The path holds a backslash.' },
  { input: 'bzzz://a@b/c%00', reason: CONTROL },
  { input: 'bzzz://a@b/c\u0000', reason: CONTROL },
  { input: 'bzzz://a@b/c%0ad', reason: CONTROL },
  { input: 'bzzz://a@b/c%7f', reason: CONTROL },
  { input: 'bzzz://a@b/c%c2%85', reason: CONTROL },
  {
    input: `bzzz://a@b/${'x'.repeat(1025)}`,
    reason: 'The path is longer than 1024 bytes.',
    shown: 'bzzz://a@b/<1,025 times x>',
  },
  {
    input: `bzzz://a@b/${'€'.repeat(342)}`,
    reason: 'The path is longer than 1024 bytes.',
    shown: 'bzzz://a@b/<342 times €>',
  },
  {
    input: `bzzz://a@b/${DEEP_33}`,
    reason: 'The path has more than 32 segments.',
    shown: 'bzzz://a@b/<33 segments>',
  },
  { input: 'bzzz://a@b/c?', reason: BAD_KEY },
  { input: 'bzzz://a@b/c?x=1', reason: BAD_KEY },
  { input: 'bzzz://a@b/c?V=1', reason: BAD_KEY },
  { input: 'bzzz://a@b/c?%76=1', reason: BAD_KEY },
  { input: 'bzzz://a@b/c?v=1&', reason: BAD_KEY },
  { input: 'bzzz://a@b/c?v=1&v=1', reason: TWO_VERSIONS },
  { input: 'bzzz://a@b/c?v=1&at=2026-11-23T09:00:00Z', reason: TWO_VERSIONS },
  { input: 'bzzz://a@b/c?v', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=0', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=-1', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=+1', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=01', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=1.0', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=1e3', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?v=9007199254740992', reason: BAD_VERSION },
  { input: 'bzzz://a@b/c?at=2026-11-23', reason: BAD_AT },
  { input: 'bzzz://a@b/c?at=2026-11-23T09:00:00', reason: BAD_AT },
  { input: 'bzzz://a@b/c?at=2026-11-23 09:00:00Z', reason: BAD_AT },
  { input: 'bzzz://a@b/c?at=2026-11-23T24:00:00Z', reason: BAD_AT },
  { input: 'bzzz://a@b/c?at=2026-12-31T23:59:60Z', reason: BAD_AT },
  { input: 'bzzz://a@b/c?at=2026-11-23T09:00:00+24:00', reason: BAD_AT },
  { input: 'bzzz://a@b/c?at=1732352400000', reason: BAD_AT },
  { input: 'bzzz://a@b/c?at=2026-02-29T00:00:00Z', reason: NO_DAY },
  { input: 'bzzz://a@b/c?at=2026-13-01T00:00:00Z', reason: NO_DAY },
  { input: 'bzzz://a@b/c?at=9999-12-31T23:59:59-01:00', reason: NO_YEAR },
  { input: 'bzzz://a@b/c?at=0000-01-01T00:00:00+01:00', reason: NO_YEAR },
  {
    input: 'bzzz://a@b/c?at=%zz',
    reason: 'The query has a percent sequence that is not valid UTF-8.',
  },
  { input: 'bzzz://a@b/c#', reason: 'The fragment is empty.' },
  { input: 'bzzz://a@b/c#%01', reason: 'The fragment holds a control character.' },
  {
    input: 'bzzz://a@b/c#%c3',
    reason: 'The fragment has a percent sequence that is not valid UTF-8.',
  },
  {
    input: `bzzz://a@b/c#${'x'.repeat(241)}`,
    reason: 'The fragment is longer than 240 bytes.',
    shown: 'bzzz://a@b/c#<241 times x>',
  },
]

/** Searches: what each one finds and what it passes over. */
export interface PatternExample {
  pattern: string
  matches: readonly string[]
  passesOver: readonly string[]
  note: string
}

export const PATTERNS: readonly PatternExample[] = [
  {
    pattern: 'bzzz://*:*@apollo:*/',
    matches: ['a@apollo/x', 'a:r@apollo/x', 'a:r@apollo:t/x/y'],
    passesOver: ['a@gemini/x'],
    note: 'everything of a project',
  },
  {
    pattern: 'bzzz://*:*@*:*/**',
    matches: ['a@apollo/x', 'a:r@gemini:t/x'],
    passesOver: [`b3/${HASH}/x`],
    note: 'every semantic address, and no content',
  },
  {
    pattern: 'bzzz://*@apollo/',
    matches: ['a@apollo/x'],
    passesOver: ['a:r@apollo/x', 'a@apollo:t/x'],
    note: 'an absent role or task stands for none',
  },
  {
    pattern: 'bzzz://Reviewer:lead@*:t1/**',
    matches: ['reviewer:lead@apollo:t1/x/y', 'reviewer:lead@gemini:t1/x'],
    passesOver: ['reviewer@apollo:t1/x', 'reviewer:lead@apollo/x'],
    note: '`/**` is another way to write the trailing `/`',
  },
  {
    pattern: 'bzzz://a@b/plans/',
    matches: ['a@b/plans/x', 'a@b/plans/2026/x'],
    passesOver: ['a@b/plans', 'a@b/plans-old/x', 'a@b/x/plans/y'],
    note: 'everything below, at any depth, but not the path itself',
  },
  {
    pattern: 'bzzz://a@b/plan.md',
    matches: ['a@b/plan.md', 'a@b/plan.md?v=3', 'a@b/%70lan.md#part'],
    passesOver: ['a@b/plan.md/x', 'a@b/plan', `b3/${HASH}/plan.md`],
    note: 'an address finds itself, in every version',
  },
  {
    pattern: 'bzzz://a@b/%2A%2A',
    matches: ['a@b/%2A%2A'],
    passesOver: ['a@b/x'],
    note: 'an encoded star is a name',
  },
]

const PATTERN_STAR = 'A * in the path is a trailing /** or written %2A.'

export const PATTERNS_REFUSED: readonly Refused[] = [
  { input: 'bzzz://a@b', reason: 'The search has no path; end it with / to mean every path.' },
  { input: 'bzzz://a@b/*', reason: PATTERN_STAR },
  { input: 'bzzz://a@b/*/c', reason: PATTERN_STAR },
  { input: 'bzzz://a@b/**/c', reason: PATTERN_STAR },
  { input: 'bzzz://a@b/***', reason: PATTERN_STAR },
  { input: 'bzzz://a@b/c*', reason: PATTERN_STAR },
  { input: 'bzzz://a@apollo-*/c', reason: badLabel('project') },
  { input: 'bzzz://a@b//', reason: 'The path is empty.' },
  { input: 'bzzz://a@b/c//', reason: 'The path has an empty segment.' },
  { input: 'bzzz://a@b/../', reason: DOTS },
  { input: 'bzzz://a@b/c?v=1', reason: 'A search has no ?query and no #fragment.' },
  { input: 'bzzz://a@b/c#part', reason: 'A search has no ?query and no #fragment.' },
  { input: `bzzz://b3/${HASH}`, reason: 'A search is for semantic addresses only.' },
]
