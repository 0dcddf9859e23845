import { createServer, type Server } from 'node:net'
import { once } from 'node:events'

import { afterEach, describe, expect, it } from 'vitest'

import { checkPorts, findFreePort, planPorts, type PortPlan } from '../../../cli/up/ports.ts'

const servers: Server[] = []

afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function occupy(port: number): Promise<void> {
  const server = createServer().listen(port, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
}

async function freePlan(): Promise<PortPlan> {
  const [gateway = 0, gatewayMetrics = 0, connector = 0, resolve = 0, http = 0, p2p = 0, bulk = 0] =
    await Promise.all(Array.from({ length: 7 }, findFreePort))
  return {
    gateway,
    gatewayMetrics,
    connector,
    functions: { resolve },
    nodes: [{ name: 'walnut', http, p2p, bulk }],
  }
}

describe('ports', () => {
  it('plans the ports of the design and moves all by the offset', () => {
    expect(planPorts({ nodes: 4, offset: 0, functions: { resolve: 3003 } })).toEqual({
      gateway: 8080,
      gatewayMetrics: 8082,
      connector: 8083,
      functions: { resolve: 3003 },
      nodes: [
        { name: 'walnut', http: 9000, p2p: 9101, bulk: 9200 },
        { name: 'ironwood', http: 9010, p2p: 9102, bulk: 9201 },
        { name: 'acacia', http: 9020, p2p: 9103, bulk: 9202 },
        { name: 'node4', http: 9030, p2p: 9104, bulk: 9203 },
      ],
    })
    expect(planPorts({ nodes: 1, offset: 100, functions: { resolve: 3003 } })).toEqual({
      gateway: 8180,
      gatewayMetrics: 8182,
      connector: 8183,
      functions: { resolve: 3103 },
      nodes: [{ name: 'walnut', http: 9100, p2p: 9201, bulk: 9300 }],
    })
  })

  it('calls the first node as it is told to, and no second one the same', () => {
    const { nodes } = planPorts({ nodes: 3, name: 'ironwood', offset: 0, functions: {} })
    expect(nodes.map(({ name }) => name)).toEqual(['ironwood', 'walnut', 'acacia'])
    expect(nodes[0]).toMatchObject({ http: 9000, p2p: 9101, bulk: 9200 })
  })

  it('looks where peers come in apart from the rest', async () => {
    const plan = await freePlan()
    const server = createServer().listen(plan.nodes[0]!.p2p, '127.0.0.2')
    servers.push(server)
    await once(server, 'listening')
    await expect(checkPorts(plan, '127.0.0.1')).resolves.toBeUndefined()
    await expect(checkPorts(plan, '127.0.0.1', '127.0.0.2')).rejects.toThrow('libp2p of walnut')
  })

  it('plans no port twice with the most nodes', () => {
    const { nodes, functions, ...rest } = planPorts({
      nodes: 9,
      offset: 0,
      functions: { mcp: 3001, resolve: 3003 },
    })
    const ports = [
      ...Object.values(rest),
      ...Object.values(functions),
      ...nodes.flatMap(({ http, p2p, bulk }) => [http, p2p, bulk]),
    ]
    expect(new Set(ports).size).toBe(ports.length)
  })

  it('lets free ports pass', async () => {
    await checkPorts(await freePlan(), '127.0.0.1')
  })

  it.each([
    ['the gateway', (plan: PortPlan) => plan.gateway],
    ['the function resolve', (plan: PortPlan) => plan.functions['resolve']!],
    ['the HTTP API of walnut', (plan: PortPlan) => plan.nodes[0]!.http],
    ['libp2p of walnut', (plan: PortPlan) => plan.nodes[0]!.p2p],
    ['the bulk transfer of walnut', (plan: PortPlan) => plan.nodes[0]!.bulk],
  ])('names the port, %s and the remedy when it is taken', async (part, portOf) => {
    const plan = await freePlan()
    await occupy(portOf(plan))
    await expect(checkPorts(plan, '127.0.0.1')).rejects.toMatchObject({
      code: 'BZZZ_PORT_IN_USE',
      message: `Port ${portOf(plan)}, meant for ${part}, is already in use: stop the program that holds it, or choose other ports with --port-offset 100.`,
    })
  })

  it('names every port that is taken', async () => {
    const plan = await freePlan()
    await occupy(plan.gateway)
    await occupy(plan.nodes[0]!.p2p)
    await expect(checkPorts(plan, '127.0.0.1')).rejects.toThrow(
      `Port ${plan.gateway}, meant for the gateway, is already in use (and ${plan.nodes[0]!.p2p})`,
    )
  })
})
