import { z } from 'zod'

import { callJSON } from './http.ts'
import type { Connection } from './connection.ts'

/** A part that does not answer in this time is shown as down; the others must not wait for it. */
const STATUS_TIMEOUT_MS = 3_000

const bootstrapSchema = z.looseObject({
  nodes: z.number(),
  connected: z.number(),
  lastError: z.string().nullable(),
})

const lastErrorSchema = z.object({
  at: z.string(),
  message: z.string(),
  code: z.string().nullable(),
})

/** What is used of `GET /v1/status`; a newer daemon may tell more. */
const nodeStatusSchema = z.looseObject({
  node: z.looseObject({
    peerId: z.string(),
    name: z.string(),
    version: z.string(),
    roles: z.array(z.string()),
    uptimeSeconds: z.number(),
  }),
  store: z.looseObject({
    blobs: z.number(),
    bytes: z.number(),
    writable: z.boolean(),
    reason: z.string().nullable(),
  }),
  peers: z.array(
    z.looseObject({
      peerId: z.string(),
      name: z.string(),
      latencyMs: z.number().nullable(),
      version: z.string().optional(),
      roles: z.array(z.string()).optional(),
      link: z.string().optional(),
      connectedSinceMs: z.number().optional(),
    }),
  ),
  mesh: z.looseObject({
    expected: z.number(),
    connected: z.number(),
    partition: z.string(),
    bootstrap: bootstrapSchema.optional(),
    join: z.looseObject({ state: z.string(), error: z.string().nullable() }).optional(),
  }),
  records: z.looseObject({ addresses: z.number() }),
  replication: z.looseObject({ owed: z.number(), underReplicated: z.number() }),
  database: z.looseObject({ state: z.string() }),
  agents: z.looseObject({ own: z.number(), known: z.number() }).optional(),
  lastError: lastErrorSchema.nullish(),
})

/** What is used of `GET /v1/nodes`. */
const membersSchema = z.looseObject({
  nodes: z.array(
    z.looseObject({
      peerId: z.string(),
      name: z.string(),
      state: z.string(),
      awaySeconds: z.number().nullable(),
      report: z
        .looseObject({
          blobs: z.number(),
          bytes: z.number(),
          owed: z.number(),
          underReplicated: z.number(),
        })
        .nullable(),
    }),
  ),
})

const functionsSchema = z.array(
  z.looseObject({
    name: z.string(),
    availableReplicas: z.number().optional(),
    replicas: z.number().optional(),
  }),
)

export type NodeStatus = z.output<typeof nodeStatusSchema>
export type LastError = z.output<typeof lastErrorSchema>
export type ListedMember = z.output<typeof membersSchema>['nodes'][number]
export type FunctionStatus = z.output<typeof functionsSchema>[number]

/** A part that answered, or why it did not. */
export type Reached<T> = { up: true; status: T } | { up: false; error: string }

export interface ClusterStatus {
  /** Everybody in the cluster, as the first node that answered tells; null when none did. */
  members: ListedMember[] | null
  nodes: ({ name: string; endpoint: string } & Reached<NodeStatus>)[]
  gateway: { endpoint: string } & Reached<{ functions: FunctionStatus[] }>
}

/** Asks every part at once. */
export async function readClusterStatus(
  { nodes, gatewayURL, token }: Connection,
  signal: AbortSignal,
): Promise<ClusterStatus> {
  const ask = <T>(url: string, schema: z.ZodType<T>) =>
    reach(async () => {
      const timeout = AbortSignal.any([signal, AbortSignal.timeout(STATUS_TIMEOUT_MS)])
      return schema.parse(await callJSON(url, { token, signal: timeout }))
    }, signal)
  const [gateway, ...reached] = await Promise.all([
    ask(`${gatewayURL}/system/functions`, functionsSchema),
    ...nodes.map(({ http }) => ask(`${http}/v1/status`, nodeStatusSchema)),
  ])
  const telling = nodes.find((_, index) => reached[index]!.up)
  const members = telling && (await ask(`${telling.http}/v1/nodes`, membersSchema))
  return {
    members: members?.up ? members.status.nodes : null,
    nodes: nodes.map(({ name, http }, index) => {
      const answer = reached[index]!
      const told = answer.up ? answer.status.node.name : null
      return { name: told ?? name ?? http, endpoint: http, ...answer }
    }),
    gateway: {
      endpoint: gatewayURL,
      ...(gateway.up ? { up: true, status: { functions: gateway.status } } : gateway),
    },
  }
}

async function reach<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<Reached<T>> {
  try {
    return { up: true, status: await ask() }
  } catch (error) {
    signal.throwIfAborted()
    return { up: false, error: describe(error) }
  }
}

function describe(error: unknown): string {
  if (error instanceof z.ZodError) return 'its answer is not understood: is it another version?'
  if (!(error instanceof Error)) return String(error)
  return error.name === 'TimeoutError' ? 'no answer in time' : error.message
}
