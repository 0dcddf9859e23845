import { z } from 'zod'

import { recordName } from '../../../shared/address/address.ts'
import { MEDIA_TYPE_CHARS_MAX } from '../../../shared/limits.ts'
import type { RecordJSON } from '../../../shared/record/record.ts'
import { contentAddress, locate, OCTETS, parseName } from '../content/content.ts'
import { PAGE_ITEMS_MAX } from '../constants.ts'
import { callOptions } from '../services.ts'
import {
  addressField,
  cursorField,
  EXAMPLE_HASH,
  limitField,
  nameField,
  nextCursor,
} from './fields.ts'
import { fitting } from './result.ts'
import { defineTool } from './tool.ts'

const named = z.object({
  name: z.string(),
  version: z.int(),
  content: z.string().describe('The address of the content itself'),
  size: z.int(),
  media_type: z.string(),
  author: z.string().describe('Peer id of the node that signed the record'),
  written_at: z.string(),
})

const EXAMPLE = {
  name: 'bzzz://reviewer@apollo:42/plan.md',
  version: 3,
  content: contentAddress(EXAMPLE_HASH),
  size: 7,
  media_type: 'text/markdown',
  author: '12D3KooWExample',
  written_at: '2026-11-23T12:00:00.000Z',
}

function toNamed(record: RecordJSON): z.input<typeof named> {
  return {
    name: record.address,
    version: record.version,
    content: contentAddress(record.hash),
    size: record.size,
    media_type: record.mediaType,
    author: record.author,
    written_at: record.timestamp,
  }
}

export const nameGet = defineTool({
  name: 'name_get',
  title: 'Look a name up',
  description:
    'The version that stands of a name, or with history the versions before it, newest first. ' +
    'Reads past any cache, so the version may be given to name_set.',
  toolsets: ['default'],
  scope: 'address:read',
  kind: 'read',
  input: z.strictObject({
    name: nameField,
    history: z
      .int()
      .min(0)
      .max(PAGE_ITEMS_MAX)
      .default(0)
      .describe(`How many earlier versions to tell of, at most ${PAGE_ITEMS_MAX}`),
  }),
  output: named.extend({
    forks: z.int().describe('Ends of the history beside this one'),
    earlier: z.array(named),
  }),
  example: {
    arguments: { name: EXAMPLE.name },
    answer: { ...EXAMPLE, forks: 0, earlier: [] },
  },
  async run({ name, history }, call) {
    const { daemon } = call.services
    const options = callOptions(call)
    const { record, forks } = await daemon.resolve(recordName(parseName(name)), {
      ...options,
      fresh: true,
    })
    const earlier =
      history === 0
        ? []
        : (
            await daemon.history(record.address, {
              ...options,
              before: String(record.version),
              limit: String(history),
            })
          ).records
    return { result: { ...toNamed(record), forks, earlier: [...fitting(earlier.map(toNamed))] } }
  },
})

export const nameSet = defineTool({
  name: 'name_set',
  title: 'Set a name',
  description:
    'Makes a name stand for content that is stored already, as its next version; earlier versions ' +
    'stay readable with ?v=N. Give expected_version, the one you read (0: none yet), and the call ' +
    'is refused when somebody else wrote meanwhile. Lasts until the name is written again.',
  toolsets: ['default'],
  scope: 'address:write',
  kind: 'put',
  input: z.strictObject({
    name: nameField,
    content: addressField.describe('What it shall stand for, such as the answer of blob_put'),
    media_type: z
      .string()
      .max(MEDIA_TYPE_CHARS_MAX)
      .regex(/^[\w.+-]+\/[\w.+-]+(?:\s*;[\x20-\x7e]*)?$/, 'of the form type/subtype')
      .optional()
      .describe('Of the content; by default what it was, else application/octet-stream'),
    expected_version: z
      .int()
      .min(0)
      .optional()
      .describe('The version last seen; 0: it must not exist'),
  }),
  output: named.extend({ created: z.boolean().describe('false: it stood for that already') }),
  example: {
    arguments: {
      name: EXAMPLE.name,
      content: EXAMPLE.content,
      media_type: EXAMPLE.media_type,
      expected_version: 2,
    },
    answer: { ...EXAMPLE, created: true },
  },
  async run({ name, content, media_type: given, expected_version: ifVersion }, call) {
    const { daemon } = call.services
    const options = callOptions(call)
    const { hash, mediaType } = await locate(daemon, content, options)
    const { status, record } = await daemon.putAddress(
      recordName(parseName(name)),
      {
        hash,
        mediaType: given ?? mediaType ?? OCTETS,
        ...(ifVersion !== undefined && { ifVersion }),
      },
      options,
    )
    return { result: { ...toNamed(record), created: status === 201 } }
  },
})

export const blobFind = defineTool({
  name: 'blob_find',
  title: 'Find names',
  description:
    'Lists names that fit a pattern, of the projects your token covers. * stands for any agent, ' +
    'role, project or task; a path that ends in / or /** for everything below it.',
  toolsets: ['default'],
  scope: 'address:read',
  kind: 'read',
  input: z.strictObject({
    pattern: addressField.describe('As bzzz://*@apollo/ or bzzz://reviewer:*@apollo:*/notes/**'),
    limit: limitField,
    cursor: cursorField,
  }),
  output: z.object({
    items: z.array(named),
    next_cursor: nextCursor,
    partial: z.boolean().describe('true: a node that was asked did not answer in time'),
  }),
  example: {
    arguments: { pattern: 'bzzz://*@apollo:*/', limit: 1 },
    answer: { items: [EXAMPLE], next_cursor: EXAMPLE.name, partial: false },
  },
  async run({ pattern, limit, cursor = '' }, call) {
    const query = new URLSearchParams({ pattern, limit: String(limit), after: cursor })
    const page = await call.services.daemon.call<{
      records: RecordJSON[]
      next: string | null
      partial: boolean
    }>({ ...callOptions(call), method: 'GET', path: `/v1/search?${query}` })
    const records = fitting(page.records)
    const cut = records.length < page.records.length
    return {
      result: {
        items: records.map(toNamed),
        next_cursor: cut ? records.at(-1)!.address : page.next,
        partial: page.partial,
      },
    }
  },
})
