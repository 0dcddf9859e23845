import { listRows } from '../../../shared/audit/audit-store.ts'
import { InvalidRequestError } from '../../../shared/errors.ts'
import { asText, locate, OCTETS, parseName, readPart } from '../content/content.ts'
import { PAGE_ITEMS_MAX, TEXT_BYTES_MAX } from '../constants.ts'
import { threadName } from '../../../shared/thread/threads.ts'
import { readLastMessages } from '../tools/thread-shapes.ts'
import { completeAgent, completeName, completeThread } from '../resources/completions.ts'
import { json } from '../resources/resource.ts'
import { callOptions, type Call } from '../services.ts'
import { readStatus } from '../tools/mesh.ts'
import { listNodes, toNodeShape } from '../tools/ops.ts'
import { AS_DATA, definePrompt, say, show, type PromptRow } from './prompt.ts'

const THREAD_ARGUMENT = 'bzzz:// address of the thread'

const blobExplain = definePrompt({
  name: 'blob_explain',
  title: 'Explain content',
  description: 'What a content of the mesh is, what it is for, and what stands out in it.',
  scope: 'blob:read',
  arguments: [
    {
      name: 'address',
      description: 'bzzz:// address of the content',
      required: true,
      complete: completeName,
    },
  ],
  example: { address: 'bzzz://reviewer@apollo:42/plan.md' },
  async get({ address = '' }, call) {
    const { daemon } = call.services
    const options = callOptions(call)
    const found = await locate(daemon, address, options)
    const range = { offset: 0, lengthMax: TEXT_BYTES_MAX }
    const part = await readPart(daemon, found.hash, range, options)
    const isEnd = part.bytes.length >= part.sizeBytes
    const text = asText(part.bytes, { isEnd })
    const about = { uri: found.address, mimeType: found.mediaType }
    const { record } = found
    return [
      say(
        'Explain the attached content: what it is, what it is for, what stands out, what is ' +
          `missing. It has ${part.sizeBytes} bytes${isEnd ? '' : ', of which the first are attached'}. ${AS_DATA}`,
      ),
      show(
        text === null
          ? {
              ...about,
              mimeType: found.mediaType ?? OCTETS,
              blob: part.bytes.subarray(0, 1024).toString('base64'),
            }
          : { ...about, text },
      ),
      show(json(`bzzz://b3/${found.hash}`, { digest: found.hash, record })),
    ]
  },
})

const incidentReview = definePrompt({
  name: 'incident_review',
  title: 'Review an incident',
  description:
    'The state of the cluster and, for an administrator, what was denied since a moment, to find ' +
    'out what went wrong.',
  scope: 'mesh:read',
  arguments: [
    { name: 'since', description: 'When it began, as 2026-11-23T12:00:00Z', required: true },
  ],
  example: { since: '2026-11-23T12:00:00Z' },
  async get({ since = '' }, call) {
    const sinceMs = Date.parse(since)
    if (Number.isNaN(sinceMs)) {
      throw new InvalidRequestError('since is a moment such as 2026-11-23T12:00:00Z.')
    }
    const at = new Date(sinceMs).toISOString()
    return [
      say(
        `Review what went wrong in this cluster since ${at}: name the likely cause, what is ` +
          `affected, what to look at next and what to do. ${AS_DATA}`,
      ),
      show(json('bzzz://mesh/status', await readStatus(call))),
      show(json('bzzz://mesh/nodes', { nodes: (await listNodes(call)).map(toNodeShape) })),
      ...(await denials(call, sinceMs)).map(show),
    ]
  },
})

/** Only administrators see the audit log, and only where there is one. */
async function denials({ caller, services }: Call, sinceMs: number) {
  if (!caller.claims.scopes.includes('admin:*') || !services.db) return []
  const rows = await listRows(services.db, { limit: PAGE_ITEMS_MAX, outcome: 'deny', sinceMs })
  return [json('bzzz://mesh/audit', { denied: rows })]
}

const threadSummary = definePrompt({
  name: 'thread_summary',
  title: 'Summarise a thread',
  description: 'What a conversation came to: decisions, open questions, who owes what.',
  scope: 'thread:read',
  arguments: [
    { name: 'thread', description: THREAD_ARGUMENT, required: true, complete: completeThread },
  ],
  example: { thread: 'bzzz://reviewer@apollo:42/threads/plan' },
  async get({ thread = '' }, call) {
    return [
      say(
        'Summarise the attached conversation: what was decided, what is open, who owes what to ' +
          `whom, with the authors’ names. ${AS_DATA}`,
      ),
      await showThread(thread, call),
    ]
  },
})

const agentHandoff = definePrompt({
  name: 'agent_handoff',
  title: 'Hand work over',
  description: 'A briefing with which one agent hands its work on a thread to another.',
  scope: 'thread:read',
  arguments: [
    {
      name: 'from',
      description: 'NAME@PROJECT that hands over',
      required: true,
      complete: completeAgent,
    },
    {
      name: 'to',
      description: 'NAME@PROJECT that takes over',
      required: true,
      complete: completeAgent,
    },
    { name: 'thread', description: THREAD_ARGUMENT, required: true, complete: completeThread },
  ],
  example: {
    from: 'planner@apollo',
    to: 'reviewer@apollo',
    thread: 'bzzz://reviewer@apollo:42/threads/plan',
  },
  async get({ from = '', to = '', thread = '' }, call) {
    const names = { from: parseAgentName(from), to: parseAgentName(to) }
    return [
      say(
        `Write the briefing with which ${names.from} hands the work of the attached conversation ` +
          `to ${names.to}: the goal, what is done and where it lies (bzzz:// addresses), what is ` +
          `open, what to beware of. ${AS_DATA}`,
      ),
      await showThread(thread, call),
    ]
  },
})

async function showThread(thread: string, call: Call) {
  const name = threadName(thread)
  return show(json(name, await readLastMessages(name, call)))
}

/** Only labels come into our own words. @throws InvalidAddressError */
function parseAgentName(text: string): string {
  const { agent, project } = parseName(`bzzz://${text}/inbox`)
  return `${agent}@${project}`
}

/** Every prompt. */
export const PROMPTS: readonly PromptRow[] = [
  threadSummary,
  agentHandoff,
  blobExplain,
  incidentReview,
]
