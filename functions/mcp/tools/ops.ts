import { z } from 'zod'

import { createHasher } from '../../../shared/blob/hash.ts'
import { BodyTooLargeError } from '../../../shared/errors.ts'
import { contentAddress, locate, sizeOf } from '../content/content.ts'
import { VERIFY_BYTES_MAX } from '../constants.ts'
import { callOptions, type Call } from '../services.ts'
import {
  addressField,
  cursorField,
  dryRunField,
  EXAMPLE_HASH,
  limitField,
  nextCursor,
} from './fields.ts'
import { defineTool } from './tool.ts'

const reasonField = z.string().max(200).default('').describe('Why, for people')

export const blobVerify = defineTool({
  name: 'blob_verify',
  title: 'Verify content',
  description:
    `Reads content of up to ${VERIFY_BYTES_MAX} bytes through and hashes it again here, beside ` +
    'the check that every node makes when it reads. Reports progress. Changes nothing.',
  toolsets: ['ops'],
  scope: 'blob:read',
  kind: 'read',
  callsPerMinuteMax: 30,
  input: z.strictObject({ address: addressField }),
  output: z.object({
    address: z.string(),
    digest: z.string(),
    recomputed: z.string(),
    size: z.int(),
    ok: z.boolean(),
  }),
  example: {
    arguments: { address: contentAddress(EXAMPLE_HASH) },
    answer: {
      address: contentAddress(EXAMPLE_HASH),
      digest: EXAMPLE_HASH,
      recomputed: EXAMPLE_HASH,
      size: 0,
      ok: true,
    },
  },
  async run({ address }, call) {
    const { daemon } = call.services
    const options = callOptions(call)
    const { address: canonical, hash } = await locate(daemon, address, options)
    const announced = await sizeOf(daemon, hash, options)
    if (announced > VERIFY_BYTES_MAX) {
      throw new BodyTooLargeError(`The content has ${announced} bytes; the scrubber reads those.`)
    }
    const hasher = createHasher()
    const { body } = await daemon.getBlob(hash, options)
    let size = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      hasher.update(chunk)
      size += chunk.length
      call.progress(size, announced, 'reading')
    }
    const recomputed = hasher.digestHex()
    const ok = recomputed === hash
    return { result: { address: canonical, digest: hash, recomputed, size, ok } }
  },
})

interface PinJSON {
  hash: string
  subject: string
  reason: string
  createdAt: string
}

const pinShape = z.object({
  address: z.string(),
  pinned_by: z.string(),
  reason: z.string(),
  pinned_at: z.string(),
})

export const blobPin = defineTool({
  name: 'blob_pin',
  title: 'Pin content',
  description:
    'Keeps content whatever else refers to it, until it is unpinned. The same again changes ' +
    'nothing.',
  toolsets: ['ops'],
  scope: 'blob:write',
  kind: 'put',
  input: z.strictObject({ address: addressField, reason: reasonField }),
  output: pinShape,
  example: {
    arguments: { address: contentAddress(EXAMPLE_HASH), reason: 'release 2' },
    answer: {
      address: contentAddress(EXAMPLE_HASH),
      pinned_by: 'ada',
      reason: 'release 2',
      pinned_at: '2026-11-23T12:00:00.000Z',
    },
  },
  async run({ address, reason }, call) {
    const { hash } = await locate(call.services.daemon, address, callOptions(call))
    const pin = await onPin<PinJSON>(call, 'PUT', hash, { reason })
    return { result: toPin(pin) }
  },
})

export const blobUnpin = defineTool({
  name: 'blob_unpin',
  title: 'Unpin content',
  description:
    'Takes a pin away, after which content that nothing refers to is removed at the next ' +
    'collection. Needs a token for all projects, as others may rely on it. With dry_run (the ' +
    'default) it only tells whose pin it is.',
  toolsets: ['ops'],
  scope: 'blob:write',
  kind: 'destroy',
  input: z.strictObject({ address: addressField, dry_run: dryRunField }),
  output: z.object({ pin: pinShape, outcome: z.enum(['would_unpin', 'unpinned']) }),
  example: {
    arguments: { address: contentAddress(EXAMPLE_HASH), dry_run: true },
    answer: {
      pin: {
        address: contentAddress(EXAMPLE_HASH),
        pinned_by: 'ada',
        reason: 'release 2',
        pinned_at: '2026-11-23T12:00:00.000Z',
      },
      outcome: 'would_unpin',
    },
  },
  async run({ address, dry_run: dryRun }, call) {
    const { hash } = await locate(call.services.daemon, address, callOptions(call))
    const pin = toPin(await onPin<PinJSON>(call, 'GET', hash))
    if (dryRun) return { result: { pin, outcome: 'would_unpin' as const } }
    await onPin(call, 'DELETE', hash)
    return { result: { pin, outcome: 'unpinned' as const } }
  },
})

function onPin<T>(
  call: Call,
  method: 'GET' | 'PUT' | 'DELETE',
  hash: string,
  json?: object,
): Promise<T> {
  const path = `/v1/pins/${hash}`
  return call.services.daemon.call<T>({ ...callOptions(call), method, path, ...(json && { json }) })
}

function toPin({ hash, subject, reason, createdAt }: PinJSON): z.input<typeof pinShape> {
  return { address: contentAddress(hash), pinned_by: subject, reason, pinned_at: createdAt }
}

export interface NodeJSON {
  peerId: string
  name: string
  state: string
}

export const nodeList = defineTool({
  name: 'node_list',
  title: 'List nodes',
  description: 'The nodes of the cluster and their state, asked of each of them now.',
  toolsets: ['ops'],
  scope: 'mesh:read',
  kind: 'read',
  callsPerMinuteMax: 60,
  input: z.strictObject({ limit: limitField, cursor: cursorField }),
  output: z.object({
    items: z.array(z.object({ peer_id: z.string(), name: z.string(), state: z.string() })),
    next_cursor: nextCursor,
  }),
  example: {
    arguments: {},
    answer: {
      items: [{ peer_id: '12D3KooWExample', name: 'walnut', state: 'live' }],
      next_cursor: null,
    },
  },
  async run({ limit, cursor = '' }, call) {
    const nodes = (await listNodes(call)).map(toNodeShape)
    const left = nodes
      .filter(({ peer_id }) => peer_id > cursor)
      .toSorted((a, b) => (a.peer_id < b.peer_id ? -1 : 1))
    const items = left.slice(0, limit)
    const next = items.length < left.length ? items.at(-1)!.peer_id : null
    return { result: { items, next_cursor: next } }
  },
})

export function toNodeShape({ peerId, name, state }: NodeJSON) {
  return { peer_id: peerId, name, state }
}

export async function listNodes(call: Call): Promise<NodeJSON[]> {
  const { daemon } = call.services
  const path = '/v1/nodes'
  const answer = await daemon.call<{ nodes: NodeJSON[] }>({
    ...callOptions(call),
    method: 'GET',
    path,
  })
  return answer.nodes
}
