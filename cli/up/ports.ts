import { createServer } from 'node:net'

import { PortInUseError } from '../../shared/errors.ts'

/** The first three are the names of the design's bootstrap nodes. */
const NODE_NAMES = ['walnut', 'ironwood', 'acacia'] as const

/** Of the first node, unless `bzzz up --name` says otherwise. */
export const NODE_NAME_DEFAULT = NODE_NAMES[0]

export interface NodePorts {
  name: string
  http: number
  p2p: number
  bulk: number
}

export interface PortPlan {
  nodes: readonly NodePorts[]
  gateway: number
  gatewayMetrics: number
  connector: number
  /** Function name to the port of its own listener. */
  functions: Readonly<Record<string, number>>
}

export interface PortRequest {
  nodes: number
  /** Of the first node, in place of walnut. */
  name?: string
  offset: number
  /** Ports of the functions without the offset. */
  functions: Readonly<Record<string, number>>
}

export function planPorts({ nodes, name, offset, functions }: PortRequest): PortPlan {
  const names = [...new Set([name ?? NODE_NAME_DEFAULT, ...NODE_NAMES])]
  return {
    nodes: Array.from({ length: nodes }, (_, index) => ({
      name: names[index] ?? `node${index + 1}`,
      http: 9000 + 10 * index + offset,
      p2p: 9101 + index + offset,
      bulk: 9200 + index + offset,
    })),
    gateway: 8080 + offset,
    gatewayMetrics: 8082 + offset,
    connector: 8083 + offset,
    functions: Object.fromEntries(
      Object.entries(functions).map(([name, port]) => [name, port + offset]),
    ),
  }
}

interface PortUse {
  port: number
  part: string
  /** Peers come to it, maybe from other machines. */
  mesh?: true
}

function usesOf(plan: PortPlan): PortUse[] {
  return [
    { port: plan.gateway, part: 'the gateway' },
    { port: plan.gatewayMetrics, part: 'the metrics of the gateway' },
    { port: plan.connector, part: 'health and metrics of the connector' },
    ...Object.entries(plan.functions).map(([name, port]) => ({
      port,
      part: `the function ${name}`,
    })),
    ...plan.nodes.flatMap(({ name, http, p2p, bulk }) => [
      { port: http, part: `the HTTP API of ${name}` },
      { port: p2p, part: `libp2p of ${name}`, mesh: true },
      { port: bulk, part: `the bulk transfer of ${name}`, mesh: true },
    ]),
  ]
}

/** @throws PortInUseError that names the first port which is taken, its part and the remedy */
export async function checkPorts(
  plan: PortPlan,
  host: string,
  meshHost: string = host,
): Promise<void> {
  const uses = usesOf(plan)
  const free = await Promise.all(uses.map(({ port, mesh }) => isFree(port, mesh ? meshHost : host)))
  const taken = uses.filter((_, index) => !free[index])
  const [first, ...others] = taken
  if (!first) return
  const more = others.length > 0 ? ` (and ${others.map(({ port }) => port).join(', ')})` : ''
  throw new PortInUseError(
    `Port ${first.port}, meant for ${first.part}, is already in use${more}: stop the program that holds it, or choose other ports with --port-offset 100.`,
  )
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** A port of loopback that nobody listens on now. */
export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address()
      const port = typeof address === 'object' && address ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

export async function isPortFree(port: number): Promise<boolean> {
  return isFree(port, '127.0.0.1')
}
