import { describe, expect, it } from 'vitest'

import type { ClusterStatus, NodeStatus } from '../../cli/client/cluster-status.ts'
import { formatStatus } from '../../cli/commands/status.ts'

function status(more: Partial<NodeStatus> = {}): NodeStatus {
  return {
    node: {
      peerId: '12D3KooWwalnut01234567',
      name: 'walnut',
      version: '2.0.0',
      roles: ['content-routing'],
      uptimeSeconds: 3720,
    },
    store: { blobs: 12, bytes: 1536, writable: true, reason: null },
    peers: [
      { peerId: 'a', name: 'ironwood', latencyMs: 1.25 },
      { peerId: 'b', name: 'acacia', latencyMs: null },
    ],
    mesh: { expected: 2, connected: 2, partition: 'none' },
    records: { addresses: 3 },
    replication: { owed: 0 },
    database: { state: 'up' },
    ...more,
  }
}

function cluster(...nodes: NodeStatus[]): ClusterStatus {
  return {
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

describe('status', () => {
  it('shows a node in one line and has no word on problems where there are none', () => {
    expect(formatStatus(cluster(status()))).toBe(`\
NODE    PEER       ROLE             PEERS   LATENCY  BLOBS  STORED   ADDRESSES  OWED  UP FOR
walnut  …01234567  content-routing  2 of 2  1.3 ms   12     1.5 KiB  3          0     1 h

gateway   http://127.0.0.1:8080  functions: resolve, mcp (down)
database  up
version   2.0.0
`)
  })

  it('names every problem of a node', () => {
    const text = formatStatus(
      cluster(
        status({
          store: { blobs: 0, bytes: 0, writable: false, reason: 'ENOSPC' },
          mesh: { expected: 2, connected: 0, partition: 'minority' },
          replication: { owed: 7 },
          database: { state: 'down' },
        }),
      ),
    )
    expect(text.slice(text.indexOf('problems'))).toBe(`\
problems
  walnut: the disk refuses writes: ENOSPC
  walnut: 2 of 2 peers are not connected
  walnut: it is cut off from the majority
  walnut: 7 copies are still owed to other nodes
  walnut: the database is down; addresses resolve without it
`)
  })

  it('shows what does not answer, and why', () => {
    const text = formatStatus({
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
