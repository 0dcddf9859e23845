import { z } from 'zod'

import { threadName } from '../../../shared/thread/threads.ts'
import { INLINE_BYTES_MAX } from '../constants.ts'
import { contentAddress } from '../content/content.ts'
import {
  authorOptions,
  callOptions,
  requireProjectOf,
  requireThreads,
  type Call,
} from '../services.ts'
import {
  addressField,
  cursorField,
  EXAMPLE_HASH,
  keyField,
  labelField,
  limitField,
  nextCursor,
} from './fields.ts'
import { fitting } from './result.ts'
import { defineTool } from './tool.ts'

export const agentShape = z.object({
  agent: z.string().describe('NAME@PROJECT'),
  role: z.string().nullable(),
  skills: z.array(z.string()),
  models: z.array(z.string()),
  tools: z.array(z.string()),
  load: z.number().describe('0 idle to 1 busy, as it says itself'),
  node: z.string().nullable(),
  expires_in_seconds: z.number().describe('It is forgotten then unless it is heard of again'),
})

/** What is used of an agent as the daemon tells of it. */
export interface AgentJSON {
  agent: string
  role: string | null
  capabilities: { skills: string[]; models: string[]; tools: string[] }
  load: number
  node: { name: string | null }
  expiresInSeconds: number
}

export function toAgentShape(agent: AgentJSON): z.input<typeof agentShape> {
  const { agent: id, role, capabilities, load, node, expiresInSeconds } = agent
  const { skills, models, tools } = capabilities
  const expires = { expires_in_seconds: expiresInSeconds }
  return { agent: id, role, skills, models, tools, load, node: node.name, ...expires }
}

export const agentList = defineTool({
  name: 'agent_list',
  title: 'List agents',
  description:
    'Agents that are registered and alive now, of the projects your token covers, with what they ' +
    'say they can do. One that is not heard of is dropped after its lease.',
  toolsets: ['agents'],
  scope: 'agent:read',
  kind: 'read',
  input: z.strictObject({
    capability: labelField.optional().describe('With this skill, model or tool'),
    role: labelField.optional(),
    project: labelField.optional(),
    limit: limitField,
    cursor: cursorField,
  }),
  output: z.object({ items: z.array(agentShape), next_cursor: nextCursor }),
  example: {
    arguments: { capability: 'review' },
    answer: {
      items: [
        {
          agent: 'reviewer@apollo',
          role: 'lead',
          skills: ['review'],
          models: ['gpt-5'],
          tools: [],
          load: 0.2,
          node: 'walnut',
          expires_in_seconds: 42,
        },
      ],
      next_cursor: null,
    },
  },
  async run({ limit, cursor = '', ...filter }, call) {
    const given = Object.entries(filter).filter((entry): entry is [string, string] => !!entry[1])
    const query = new URLSearchParams([...given, ['limit', `${limit}`], ['after', cursor]])
    const page = await call.services.daemon.call<{ agents: AgentJSON[]; next: string | null }>({
      ...callOptions(call),
      method: 'GET',
      path: `/v1/agents?${query}`,
    })
    const items = fitting(page.agents.map(toAgentShape))
    const cut = items.length < page.agents.length
    return { result: { items: [...items], next_cursor: cut ? items.at(-1)!.agent : page.next } }
  },
})

/** Where an agent is written to: a thread of its own, which it reads like any other. */
function inboxOf(agent: string): string {
  return `bzzz://${agent}/inbox`
}

export const agentSend = defineTool({
  name: 'agent_send',
  title: 'Write to an agent',
  description:
    'Puts a message into the inbox of an agent that is registered now, the thread ' +
    'bzzz://NAME@PROJECT/inbox. It is kept whether or not the agent reads it; an answer comes, if ' +
    'any, where the message says.',
  toolsets: ['agents'],
  scope: 'thread:write',
  kind: 'add',
  openWorld: true,
  input: z.strictObject({
    agent: z.string().min(3).max(128).describe('NAME@PROJECT, as agent_list tells'),
    message: z.string().min(1).max(INLINE_BYTES_MAX),
    refs: z.array(addressField).max(16).default([]),
    idempotency_key: keyField,
  }),
  output: z.object({
    thread: z.string(),
    message: z.string(),
    seq: z.int(),
    existed: z.boolean(),
  }),
  example: {
    arguments: { agent: 'reviewer@apollo', message: 'The plan is ready.' },
    answer: {
      thread: 'bzzz://reviewer@apollo/inbox',
      message: contentAddress(EXAMPLE_HASH),
      seq: 1,
      existed: false,
    },
  },
  async run({ agent, message: content, refs, idempotency_key: key }, call) {
    const address = inboxOf(agent)
    requireProjectOf(call, address)
    await requireAgent(agent, call)
    const message = { role: 'user' as const, content, refs, ...(key !== undefined && { key }) }
    const options = { ...authorOptions(call), create: true }
    const { items } = await requireThreads(call).append(address, [message], options)
    const [{ hash, seq, existed }] = items as [(typeof items)[number]]
    const thread = threadName(address)
    return { result: { thread, message: contentAddress(hash), seq, existed } }
  },
})

/** A message to nobody would wait for good. @throws RemoteError (BZZZ_AGENT_NOT_FOUND) */
async function requireAgent(agent: string, call: Call): Promise<void> {
  const path = `/v1/agents/${encodeURIComponent(agent)}`
  await call.services.daemon.call({ ...callOptions(call), method: 'GET', path })
}
