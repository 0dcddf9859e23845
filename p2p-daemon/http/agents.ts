import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { checkLabel } from '../../shared/address/labels.ts'
import { projectMatches } from '../../shared/address/project-pattern.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import { duration } from '../../shared/config/env.ts'
import { AgentNotFoundError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { AgentExchange } from '../agents/agent-exchange.ts'
import type { AgentFilter, AgentRegistry, RegisteredAgent } from '../agents/agent-registry.ts'
import { agentBody, agentId, parseAgentId } from '../agents/agent.ts'
import {
  CAPABILITY_CHARS_MAX,
  LEASE_DEFAULT_MS,
  LEASE_MAX_MS,
  LEASE_MIN_MS,
} from '../agents/constants.ts'
import type { OwnAgents } from '../agents/own-agents.ts'

export interface AgentRoutesOptions {
  agents: {
    own: OwnAgents
    registry: Pick<AgentRegistry, 'find' | 'search'>
    exchange: Pick<AgentExchange, 'refresh'>
    /** What people call a node. */
    nameOf: (peerId: string) => string | null
  }
}

const lease = duration
  .refine(
    (ms) => ms >= LEASE_MIN_MS && ms <= LEASE_MAX_MS,
    `from ${LEASE_MIN_MS / 1000} to ${LEASE_MAX_MS / 1000} seconds`,
  )
  .default(LEASE_DEFAULT_MS)

const registration = z.strictObject({ ...agentBody, lease })

const heartbeat = z.strictObject({ load: z.number().min(0).max(1).optional() })

const word = z.string().min(1).max(CAPABILITY_CHARS_MAX).optional()

const searchQuery = z.object({
  capability: word,
  model: word,
  role: word,
  project: word,
  after: z.string().max(CAPABILITY_CHARS_MAX).default(''),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
})

interface AgentParams {
  Params: { agent: string }
}

/**
 * `GET /v1/agents` searches what was heard of; `GET|PUT|DELETE /v1/agents/NAME@PROJECT` and
 * `POST /v1/agents/NAME@PROJECT/heartbeat` are for one agent, which registers through one node.
 */
export async function agentRoutes(
  app: FastifyInstance,
  { agents }: AgentRoutesOptions,
): Promise<void> {
  const { own, registry, exchange, nameOf } = agents
  const read = { config: { scope: 'agent:read' as const } }
  const write = { config: { scope: 'agent:write' as const } }
  const toJSON = (agent: RegisteredAgent) => describe(agent, nameOf(agent.node))

  app.get('/v1/agents', read, async (request, reply) => {
    const { after, limit, ...query } = parseWith(searchQuery, request.query)
    const filter = filterOf(request, query)
    if (request.headers['cache-control']?.includes('no-cache')) {
      await exchange.refresh(filter, abandonedSignal(reply))
    }
    const found = registry.search(filter, { after, limit })
    const next = found.length === limit ? agentId(found.at(-1)!) : null
    return { agents: found.map(toJSON), next }
  })

  app.get<AgentParams>('/v1/agents/:agent', read, async (request) => {
    const id = idOf(request)
    const agent = registry.find(id)
    if (!agent) throw new AgentNotFoundError(`There is no agent ${id} here.`)
    return toJSON(agent)
  })

  app.put<AgentParams>('/v1/agents/:agent', write, async (request, reply) => {
    const names = parseAgentId(idOf(request))
    const { lease: leaseMs, ...described } = parseWith(registration, request.body)
    const { agent, created } = own.register({ ...names, ...described }, leaseMs)
    reply.code(created ? 201 : 200)
    return toJSON(agent)
  })

  app.post<AgentParams>('/v1/agents/:agent/heartbeat', write, async (request) =>
    toJSON(own.heartbeat(idOf(request), parseWith(heartbeat, request.body))),
  )

  app.delete<AgentParams>('/v1/agents/:agent', write, async (request, reply) => {
    own.withdraw(idOf(request))
    return reply.code(204).send()
  })
}

/** The agent that the path names, in a project that the token covers. */
function idOf(request: FastifyRequest<AgentParams>): string {
  const names = parseAgentId(request.params.agent)
  requireProject(request, names.project)
  return agentId(names)
}

function filterOf(
  request: FastifyRequest,
  query: Omit<z.infer<typeof searchQuery>, 'after' | 'limit'>,
): AgentFilter {
  const { capability, model, role } = query
  const project = query.project === undefined ? undefined : checkLabel('project', query.project)
  if (project !== undefined) requireProject(request, project)
  const patterns = request.claims?.projects ?? []
  const covered = new Map<string, boolean>()
  const covers = (label: string): boolean => {
    if (project !== undefined) return label === project
    const known = covered.get(label)
    if (known !== undefined) return known
    const is = patterns.some((pattern) => projectMatches(pattern, label))
    covered.set(label, is)
    return is
  }
  return { capability, model, role: role && checkLabel('role', role), covers }
}

function describe(agent: RegisteredAgent, nodeName: string | null) {
  const { name, project, role, capabilities, endpoint, load, registeredAtMs, leaseMs } = agent
  return {
    agent: agentId(agent),
    name,
    project,
    role,
    capabilities,
    endpoint,
    load,
    node: { peerId: agent.node, name: nodeName },
    registeredAt: new Date(registeredAtMs).toISOString(),
    leaseSeconds: leaseMs / 1000,
    /** How long it stays listed without being heard of again. */
    expiresInSeconds: Math.ceil(agent.leftMs / 1000),
  }
}
