import { z } from 'zod'

import { QueueUnavailableError } from '../../../shared/errors.ts'
import { CALLS_TOPIC } from '../../../shared/queue/names.ts'
import { INLINE_BYTES_MAX, RESULT_CHARS_MAX } from '../constants.ts'
import { locate, contentAddress } from '../content/content.ts'
import { callOptions, type Call } from '../services.ts'
import { addressField, EXAMPLE_HASH } from './fields.ts'
import { defineTool, TOOLSETS } from './tool.ts'

const resolved = z.object({
  address: z.string(),
  kind: z.enum(['content', 'name']),
  content: z.string().describe('The address of the content itself, which never changes'),
  digest: z.string().describe('BLAKE3 of the content'),
  size: z.int().nullable(),
  media_type: z.string().nullable(),
  version: z.int().nullable(),
  author: z.string().nullable().describe('Peer id of the node that signed the record'),
  written_at: z.string().nullable(),
  forks: z.int().describe('Ends of the history beside this one; above 0 somebody should merge'),
})

export const meshResolve = defineTool({
  name: 'mesh_resolve',
  title: 'Resolve an address',
  description:
    'Says what a bzzz:// address stands for now: the hash, size, media type, version and author ' +
    'of its content. Reads no content. A name may change at any time; content by hash never does.',
  toolsets: ['default'],
  scope: 'address:read',
  kind: 'read',
  input: z.strictObject({ address: addressField }),
  output: resolved,
  example: {
    arguments: { address: 'bzzz://reviewer@apollo:42/plan.md' },
    answer: {
      address: 'bzzz://reviewer@apollo:42/plan.md',
      kind: 'name',
      content: contentAddress(EXAMPLE_HASH),
      digest: EXAMPLE_HASH,
      size: 0,
      media_type: 'text/markdown',
      version: 3,
      author: '12D3KooWExample',
      written_at: '2026-11-23T12:00:00.000Z',
      forks: 0,
    },
  },
  async run({ address }, call) {
    const found = await locate(call.services.daemon, address, callOptions(call))
    const { record } = found
    return {
      result: {
        address: found.address,
        kind: record ? ('name' as const) : ('content' as const),
        content: contentAddress(found.hash),
        digest: found.hash,
        size: record?.size ?? null,
        media_type: record?.mediaType ?? null,
        version: record?.version ?? null,
        author: record?.author ?? null,
        written_at: record?.timestamp ?? null,
        forks: found.forks,
      },
    }
  },
})

/** What is used of `GET /v1/status`. */
interface NodeStatus {
  node: { name: string; version: string; roles: string[] }
  mesh: { expected: number; connected: number; partition: string }
  store: { blobs: number; bytes: number; writable: boolean }
  records: { addresses: number }
  replication: { underReplicated: number }
  agents: { known: number }
}

export const meshStatus = defineTool({
  name: 'mesh_status',
  title: 'Status of the mesh',
  description:
    'How the cluster is, as the node sees it that answers: peers in reach, blobs kept, copies ' +
    'still owed, agents known, calls that wait. A moment’s picture. Use it before large work ' +
    'and after failures.',
  toolsets: ['default'],
  scope: 'mesh:read',
  kind: 'read',
  input: z.strictObject({}),
  output: z.object({
    node: z.string(),
    version: z.string(),
    roles: z.array(z.string()),
    peers_connected: z.int(),
    peers_expected: z.int(),
    partition: z.string().describe('none, or minority: then writes are refused for now'),
    blobs: z.int(),
    bytes: z.int(),
    writable: z.boolean(),
    addresses: z.int(),
    under_replicated: z.int().describe('Blobs with fewer copies than they should have'),
    agents: z.int(),
    queue_depth: z
      .int()
      .nullable()
      .describe('Calls of functions that wait; null where the queue does not answer'),
  }),
  example: {
    arguments: {},
    answer: {
      node: 'walnut',
      version: '2.0.0',
      roles: ['storage'],
      peers_connected: 2,
      peers_expected: 2,
      partition: 'none',
      blobs: 1200,
      bytes: 48_000_000,
      writable: true,
      addresses: 310,
      under_replicated: 0,
      agents: 4,
      queue_depth: 0,
    },
  },
  async run(_args, call) {
    const status = await readStatus(call)
    return { result: status }
  },
})

export async function readStatus(call: Call) {
  const { daemon } = call.services
  const path = '/v1/status'
  const status = await daemon.call<NodeStatus>({ ...callOptions(call), method: 'GET', path })
  const { node, mesh, store, records, replication, agents } = status
  return {
    node: node.name,
    version: node.version,
    roles: node.roles,
    peers_connected: mesh.connected,
    peers_expected: mesh.expected,
    partition: mesh.partition,
    blobs: store.blobs,
    bytes: store.bytes,
    writable: store.writable,
    addresses: records.addresses,
    under_replicated: replication.underReplicated,
    agents: agents.known,
    queue_depth: await queueDepth(call),
  }
}

/** A status without it is better than none. */
async function queueDepth({ services }: Call): Promise<number | null> {
  try {
    const counts = await services.queue?.counts(CALLS_TOPIC)
    return counts ? counts.waiting : null
  } catch (error) {
    if (error instanceof QueueUnavailableError) return null
    throw error
  }
}

export const meshWhoami = defineTool({
  name: 'mesh_whoami',
  title: 'Who am I',
  description:
    'What the token in use may do: subject, role, scopes, projects, when it ends, and the tools ' +
    'it sees here. Call it when something is refused.',
  toolsets: ['default'],
  scope: null,
  kind: 'read',
  input: z.strictObject({}),
  output: z.object({
    subject: z.string(),
    role: z.string(),
    scopes: z.array(z.string()),
    projects: z.array(z.string()),
    expires_at: z.string(),
    tools: z.array(z.string()),
    toolsets: z.array(z.string()).describe('To be asked for with ?toolsets=a,b on the endpoint'),
    limits: z.object({
      calls_per_minute: z.int().describe('Of one tool; some have less, as they say'),
      inline_bytes: z.int().describe('Content given in one call'),
      result_chars: z.int().describe('Of one result'),
    }),
  }),
  example: {
    arguments: {},
    answer: {
      subject: 'ada',
      role: 'viewer',
      scopes: ['blob:read', 'address:read', 'mesh:read'],
      projects: ['apollo'],
      expires_at: '2026-12-01T00:00:00.000Z',
      tools: ['mesh_resolve', 'mesh_status', 'mesh_whoami', 'blob_get'],
      toolsets: [...TOOLSETS],
      limits: {
        calls_per_minute: 600,
        inline_bytes: INLINE_BYTES_MAX,
        result_chars: RESULT_CHARS_MAX,
      },
    },
  },
  run(_args, { caller, visibleTools, callsPerMinuteMax }) {
    const { subject, role, scopes, projects, expiresAt } = caller.claims
    return Promise.resolve({
      result: {
        subject,
        role,
        scopes: [...scopes],
        projects: [...projects],
        expires_at: new Date(expiresAt * 1000).toISOString(),
        tools: [...visibleTools],
        toolsets: [...TOOLSETS],
        limits: {
          calls_per_minute: callsPerMinuteMax,
          inline_bytes: INLINE_BYTES_MAX,
          result_chars: RESULT_CHARS_MAX,
        },
      },
    })
  },
})
