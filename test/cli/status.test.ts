import { describe, expect, it } from 'vitest'

import type { ClusterStatus, ListedMember, NodeStatus } from '../../cli/client/cluster-status.ts'
import { formatStatus } from '../../cli/output/cluster-text.ts'

function status(more: Partial<NodeStatus> = {}): NodeStatus {
  return {
    node: {
      peerId: '12D3KooWwalnut01234567',
      name: 'walnut',
      version: '2.0.0',
      roles: ['routing'],
      uptimeSeconds: 3720,
    },
    store: { blobs: 12, bytes: 1536, writable: true, reason: null },
    peers: [
      { peerId: 'a', name: 'ironwood', latencyMs: 1.25 },
      { peerId: 'b', name: 'acacia', latencyMs: null },
    ],
    mesh: { expected: 2, connected: 2, partition: 'none' },
    records: { addresses: 3 },
    replication: { owed: 0, underReplicated: 0 },
    database: { state: 'up' },
    agents: { own: 1, known: 4 },
    lastError: null,
    ...more,
  }
}

function cluster(...nodes: NodeStatus[]): ClusterStatus {
  return {
    members: null,
    nodes: nodes.map((each) => ({
      name: each.node.name,
      endpoint: 'http://127.0.0.1:9000',
      up: true,
      status: each,
    })),
    gateway: {
      endpoint: 'http://127.0.0.1:8080',
      up: true,
      status: {
        functions: [
          { name: 'resolve', availableReplicas: 1 },
          { name: 'mcp', availableReplicas: 0 },
        ],
      },
    },
  }
}

function member(more: Partial<ListedMember> = {}): ListedMember {
  return { peerId: '-', name: 'walnut', state: 'live', awaySeconds: null, report: null, ...more }
}

describe('status', () => {
  it('shows a node in one line and has no word on problems where there are none', () => {
    expect(formatStatus(cluster(status()))).toBe(`\
NODE    PEER       STATE  ROLE     PEERS   LATENCY  BLOBS  STORED   OWED  SHORT  AGENTS  UP FOR
walnut  …01234567  live   routing  2 of 2  1.3 ms   12     1.5 KiB  0     0      1       1 h

LINK               LATENCY  ROAD    UP FOR
acacia - walnut    -        direct  -
ironwood - walnut  1.3 ms   direct  -

gateway   http://127.0.0.1:8080  functions: resolve, mcp (down)
database  up
agents    4
version   2.0.0
`)
  })

  it('names every problem of a node', () => {
    const text = formatStatus(
      cluster(
        status({
          store: { blobs: 0, bytes: 0, writable: false, reason: 'ENOSPC' },
          mesh: {
            expected: 2,
            connected: 0,
            partition: 'minority',
            bootstrap: { nodes: 1, connected: 0, lastError: 'walnut:9101: refused' },
          },
          lastError: {
            at: new Date(Date.now() - 120_500).toISOString(),
            message: 'request failed',
            code: 'BZZZ_INTERNAL',
          },
          replication: { owed: 7, underReplicated: 5 },
          database: { state: 'down' },
        }),
      ),
    )
    expect(text.slice(text.indexOf('problems'))).toBe(`\
problems
  walnut: the disk refuses writes: ENOSPC
  walnut: 2 of 2 peers are not connected
  walnut: no bootstrap node is reached, it keeps trying (walnut:9101: refused)
  walnut: it is cut off from the majority: it serves reads and refuses writes
  walnut: 7 copies are still owed to other nodes
  walnut: 5 blobs have fewer copies than they should
  walnut: the database is down; addresses resolve without it

last errors
  walnut: 2 min ago: request failed (BZZZ_INTERNAL)
`)
  })

  it('shows members that were not asked, and a node that drains', () => {
    const report = { blobs: 3, bytes: 2048, owed: 1, underReplicated: 2 }
    const peer = {
      peerId: '12D3KooWironwo01234567',
      name: 'ironwood',
      latencyMs: 4.5,
      roles: ['threads'],
    }
    const text = formatStatus({
      ...cluster(status({ peers: [peer] })),
      members: [
        member({ peerId: '12D3KooWwalnut01234567', name: 'walnut', state: 'draining' }),
        member({ peerId: '12D3KooWironwo01234567', name: 'ironwood', report }),
        member({ name: 'acacia', state: 'away', awaySeconds: 90 }),
      ],
    })
    expect(text).toMatch(/^walnut +…01234567 +draining /m)
    expect(text).toMatch(
      /^ironwood +…01234567 +live +threads +- +4\.5 ms +3 +2.0 KiB +1 +2 +- +-$/m,
    )
    expect(text).toMatch(/^acacia +- +away 1 min +-/m)
  })

  it('shows each link once, with the slower of both measurements, and the slowest of many', () => {
    const peer = (name: string, latencyMs: number | null, more: object = {}) => ({
      peerId: name,
      name,
      latencyMs,
      ...more,
    })
    const text = formatStatus(
      cluster(
        status({ peers: [peer('ironwood', 1), peer('acacia', 3, { link: 'relayed' })] }),
        status({ node: { ...status().node, name: 'ironwood' }, peers: [peer('walnut', 2)] }),
      ),
    )
    expect(text).toContain('acacia - walnut    3.0 ms   relayed  -\n')
    expect(text).toContain('ironwood - walnut  2.0 ms   direct   -\n')

    const many = Array.from({ length: 20 }, (_, index) => peer(`n${index}`, index))
    const long = formatStatus(cluster(status({ peers: many })))
    expect(long).toContain('n19 - walnut')
    expect(long).not.toContain('n7 - walnut')
    expect(long).toContain('and 8 that are faster')
  })

  it('says who runs what where versions differ', () => {
    const peers = [
      { peerId: 'a', name: 'ironwood', latencyMs: 1, version: '2.0.1' },
      { peerId: 'b', name: 'acacia', latencyMs: 1, version: '2.0.0' },
    ]
    expect(formatStatus(cluster(status({ peers })))).toContain(
      'version   ironwood 2.0.1, acacia 2.0.0, walnut 2.0.0\n',
    )
  })

  it('shows what does not answer, and why', () => {
    const text = formatStatus({
      members: null,
      nodes: [
        { name: 'acacia', endpoint: 'http://127.0.0.1:9020', up: false, error: 'It is away.' },
      ],
      gateway: { endpoint: 'http://127.0.0.1:8080', up: false, error: 'So is this.' },
    })
    expect(text).toMatch(/^acacia +- +down +-/m)
    expect(text).toContain('gateway   down at http://127.0.0.1:8080\n')
    expect(text).toContain('problems\n  acacia: It is away.\n  gateway: So is this.\n')
  })
})
