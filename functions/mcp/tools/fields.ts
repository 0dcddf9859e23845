import { z } from 'zod'

import { ADDRESS_CHARS_MAX, ADDRESS_LABEL_CHARS_MAX } from '../../../shared/limits.ts'
import { PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX } from '../constants.ts'

/** Fields that several tools have, with the words a model reads. */
export const addressField = z
  .string()
  .min(1)
  .max(ADDRESS_CHARS_MAX)
  .describe(
    'bzzz://agent[:role]@project[:task]/path, with ?v=N or ?at=TIME for the past, or bzzz://b3/<hash>',
  )

export const nameField = z
  .string()
  .min(1)
  .max(ADDRESS_CHARS_MAX)
  .describe('A name: bzzz://agent[:role]@project[:task]/path')

/** A project, a role, a topic. */
export const labelField = z.string().min(1).max(ADDRESS_LABEL_CHARS_MAX)

export const limitField = z
  .int()
  .min(1)
  .max(PAGE_ITEMS_MAX)
  .default(PAGE_ITEMS_DEFAULT)
  .describe(`Items of a page, at most ${PAGE_ITEMS_MAX}`)

export const cursorField = z
  .string()
  .max(ADDRESS_CHARS_MAX)
  .optional()
  .describe('next_cursor of the page before')

/** Longer than any moment; digits of a second have no end by themselves. */
const MOMENT_CHARS_MAX = 40

export const momentField = z.iso
  .datetime({ offset: true })
  .max(MOMENT_CHARS_MAX)
  .describe('As 2026-11-23T12:00:00Z')

export const dryRunField = z
  .boolean()
  .default(true)
  .describe('true: only say what would happen. false: do it')

export const keyField = z
  .string()
  .min(1)
  .max(255)
  .optional()
  .describe('The same key again is the same thing, so a lost answer may be asked for again')

/** A hash of an example: of nothing at all. */
export const EXAMPLE_HASH = 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'

export const nextCursor = z.string().nullable().describe('null: this was the last page')
