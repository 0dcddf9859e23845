import { z } from 'zod'

import { ProtocolViolationError } from '../../shared/errors.ts'
import { agentBytes, agentId, agentSchema, parseAgentId, type Agent } from './agent.ts'
import {
  AGENT_BYTES_MAX,
  AGENTS_PER_NODE_MAX,
  ANNOUNCEMENT_BYTES_MAX,
  LEASE_MAX_MS,
} from './constants.ts'

/** An agent as its node tells of it. */
export interface AnnouncedAgent extends Agent {
  /** Unix milliseconds by the clock of its node; shown to people and compared with nothing. */
  registeredAtMs: number
  /** How long the agent may be silent, and how much of that is left: no clock is compared. */
  leaseMs: number
  leftMs: number
}

/**
 * What a node says about the agents registered through it, and about no others. Who says it is
 * proven by the signature of the gossip or by the connection, so it is not in the message.
 */
export interface Announcement {
  /** Rises with every start of the node, `sequence` with every message: old ones are known. */
  epoch: number
  sequence: number
  /** These are all of its agents: whoever knows another one forgets it. */
  complete: boolean
  agents: readonly AnnouncedAgent[]
  /** Names (`reviewer@apollo`) of agents that left. */
  withdrawn: readonly string[]
}

const leaseMs = z.int().min(0).max(LEASE_MAX_MS)
const counter = z.int().min(0)

/** Unknown fields are dropped, so that a newer node can say more than an older one understands. */
const schema = z.object({
  epoch: counter,
  sequence: counter,
  complete: z.boolean(),
  agents: z
    .array(agentSchema.extend({ registeredAtMs: counter, leaseMs, leftMs: leaseMs }))
    .max(AGENTS_PER_NODE_MAX),
  withdrawn: z.array(z.string().max(128).refine(isAgentId)).max(AGENTS_PER_NODE_MAX),
})

export function encodeAnnouncement(announcement: Announcement): Uint8Array {
  return Buffer.from(JSON.stringify(announcement))
}

/** @throws ProtocolViolationError for anything that is not an announcement within its limits */
export function decodeAnnouncement(
  bytes: Uint8Array,
  init: { bytesMax: number } = { bytesMax: ANNOUNCEMENT_BYTES_MAX },
): Announcement {
  if (bytes.length > init.bytesMax) {
    throw new ProtocolViolationError('The announcement of agents is too long.')
  }
  let announcement: Announcement
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    announcement = schema.parse(JSON.parse(text))
  } catch (error) {
    throw new ProtocolViolationError('The announcement of agents cannot be read.', {
      cause: error,
    })
  }
  if (announcement.agents.some((agent) => agentBytes(agent) > AGENT_BYTES_MAX)) {
    throw new ProtocolViolationError('The announcement describes an agent at too much length.')
  }
  return announcement
}

/** In as few parts as there can be, each of which fits one gossip message. */
export function splitAgents(agents: readonly AnnouncedAgent[]): AnnouncedAgent[][] {
  const parts: AnnouncedAgent[][] = [[]]
  let used = FRAME_BYTES
  for (const agent of agents) {
    const bytes = agentBytes(agent) + TIMES_BYTES
    if (used + bytes > ANNOUNCEMENT_BYTES_MAX) {
      parts.push([])
      used = FRAME_BYTES
    }
    parts.at(-1)!.push(agent)
    used += bytes
  }
  return parts
}

/** What is in a message beside the agents: counters, and as many names as a node has agents. */
const FRAME_BYTES = 256 + AGENTS_PER_NODE_MAX * 131

/** The times of one agent at their longest, and the comma after it. */
const TIMES_BYTES = ',"registeredAtMs":9007199254740991,"leaseMs":3600000,"leftMs":3600000,'.length

function isAgentId(text: string): boolean {
  try {
    return agentId(parseAgentId(text)) === text
  } catch {
    return false
  }
}
