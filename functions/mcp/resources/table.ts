import { BodyTooLargeError } from '../../../shared/errors.ts'
import { toJobJSON } from '../../../shared/queue/job-json.ts'
import { getOwnJob } from '../../../shared/queue/ownership.ts'
import { asText, locate, readPart, sizeOf } from '../content/content.ts'
import { IMMUTABLE_TTL_MS, INLINE_BYTES_MAX, STATE_TTL_MS } from '../constants.ts'
import { callOptions, requireQueue, type Call } from '../services.ts'
import { toAgentShape, type AgentJSON } from '../tools/agents.ts'
import { readStatus } from '../tools/mesh.ts'
import { listNodes, toNodeShape } from '../tools/ops.ts'
import { readLastMessages } from '../tools/thread-shapes.ts'
import { completeAgent, completeAuthority, completeThread } from './completions.ts'
import { defineResource, json, type Contents, type ResourceRow } from './resource.ts'

/**
 * Every resource and template. The first row that matches serves a URI; addresses of names come
 * last, and no name can be taken for one of the others, as its authority has an `@`.
 */
export const RESOURCES: readonly ResourceRow[] = [
  defineResource({
    name: 'mesh-status',
    title: 'Status of the mesh',
    description: 'How the cluster is, as the node sees it that answers.',
    mimeType: 'application/json',
    uri: 'bzzz://mesh/status',
    scope: 'mesh:read',
    ttlMs: STATE_TTL_MS,
    read: async (uri, _variables, call) => json(uri, await readStatus(call)),
  }),
  defineResource({
    name: 'mesh-nodes',
    title: 'Nodes of the mesh',
    description: 'The nodes of the cluster and their state.',
    mimeType: 'application/json',
    uri: 'bzzz://mesh/nodes',
    scope: 'mesh:read',
    ttlMs: STATE_TTL_MS,
    read: async (uri, _variables, call) => {
      const nodes = await listNodes(call)
      return json(uri, { nodes: nodes.map(toNodeShape) })
    },
  }),
  defineResource({
    name: 'content',
    title: 'Content by its hash',
    description: `Bytes under their BLAKE3 hash, up to ${INLINE_BYTES_MAX}. They never change.`,
    uri: 'bzzz://b3/{hash}',
    scope: 'blob:read',
    ttlMs: IMMUTABLE_TTL_MS,
    read: (uri, _variables, call) => readContent(uri, call),
  }),
  defineResource({
    name: 'agent',
    title: 'An agent',
    description: 'What an agent that is alive says of itself. NAME@PROJECT.',
    mimeType: 'application/json',
    uri: 'bzzz://agents/{agent}',
    scope: 'agent:read',
    ttlMs: STATE_TTL_MS,
    complete: { agent: completeAgent },
    read: async (uri, [agent = ''], call) => {
      const path = `/v1/agents/${encodeURIComponent(decodeURIComponent(agent))}`
      const { daemon } = call.services
      const found = await daemon.call<AgentJSON>({ ...callOptions(call), method: 'GET', path })
      return json(uri, toAgentShape(found))
    },
  }),
  defineResource({
    name: 'job',
    title: 'A job',
    description: 'State, progress and answers of a job of yours.',
    mimeType: 'application/json',
    uri: 'bzzz://jobs/{job}',
    scope: 'job:read',
    ttlMs: STATE_TTL_MS,
    read: async (uri, [id = ''], call) => {
      const job = await getOwnJob(requireQueue(call), decodeURIComponent(id), call.caller.claims)
      return json(uri, toJobJSON(job, { bodies: true }))
    },
  }),
  defineResource({
    name: 'thread',
    title: 'A thread',
    description:
      'The last messages of a conversation, the newest first. What follows threads/ is the ' +
      'address of the thread without bzzz://.',
    mimeType: 'application/json',
    uri: 'bzzz://threads/{+thread}',
    scope: 'thread:read',
    ttlMs: STATE_TTL_MS,
    complete: { thread: completeThread },
    read: async (uri, [thread = ''], call) => json(uri, await readLastMessages(thread, call)),
  }),
  defineResource({
    name: 'named-content',
    title: 'Content by its name',
    description:
      `What a name stands for now, up to ${INLINE_BYTES_MAX} bytes: ` +
      'bzzz://agent[:role]@project[:task]/path, with ?v=N for an earlier version.',
    uri: 'bzzz://{authority}/{+path}',
    scope: 'blob:read',
    ttlMs: STATE_TTL_MS,
    complete: { authority: completeAuthority },
    read: (uri, _variables, call) => readContent(uri, call),
  }),
]

/** Whole or not at all: half a content would be taken for the whole. */
async function readContent(uri: string, call: Call): Promise<Contents> {
  const { daemon } = call.services
  const options = callOptions(call)
  const found = await locate(daemon, uri, options)
  const size = found.record?.size ?? (await sizeOf(daemon, found.hash, options))
  if (size > INLINE_BYTES_MAX) {
    throw new BodyTooLargeError(
      `The content has ${size} bytes of ${INLINE_BYTES_MAX}: read it in parts with blob_get.`,
    )
  }
  const part = await readPart(daemon, found.hash, { offset: 0, lengthMax: size || 1 }, options)
  const text = asText(part.bytes, { isEnd: true })
  const { record, mediaType } = found
  const about = {
    uri,
    mimeType: mediaType,
    _meta: {
      'bzzz/digest': found.hash,
      ...(record && { 'bzzz/author': record.author, 'bzzz/version': record.version }),
    },
  }
  return text === null ? { ...about, blob: part.bytes.toString('base64') } : { ...about, text }
}
