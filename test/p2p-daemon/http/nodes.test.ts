import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

let daemon: MemoryDaemon

beforeAll(async () => {
  daemon = await startMemoryDaemon()
})
afterAll(() => daemon.close())

async function call(
  method: string,
  path: string,
  role: 'admin' | 'agent' | 'viewer',
  body?: object,
) {
  const token = await daemon.tokens.create({ role })
  const answer = await fetch(daemon.url + path, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

describe('GET /v1/nodes', () => {
  it('lists this node with what it keeps', async () => {
    const { status, body } = await call('GET', '/v1/nodes', 'viewer')
    expect(status).toBe(200)
    expect(body).toEqual({
      nodes: [
        {
          peerId: daemon.peerId,
          name: daemon.peerId.slice(-8),
          self: true,
          state: 'live',
          placed: true,
          weight: 1,
          zone: 'default',
          awaySeconds: null,
          report: expect.objectContaining({ draining: false, drained: false, blobs: 0, owed: 0 }),
        },
      ],
    })
  })
})

describe('draining and removing over HTTP', () => {
  it('is for administrators', async () => {
    for (const [method, path] of [
      ['POST', `/v1/nodes/${daemon.peerId}/drain`],
      ['DELETE', `/v1/nodes/${daemon.peerId}/drain`],
      ['POST', `/v1/nodes/${daemon.peerId}/remove`],
    ] as const) {
      const { status, body } = await call(method, path, 'agent')
      expect([status, body['error']]).toMatchObject([403, { code: 'BZZZ_SCOPE_MISSING' }])
    }
  })

  it('answers 404 for a node that is not a member', async () => {
    const { status, body } = await call('POST', '/v1/nodes/nobody/drain', 'admin')
    expect([status, body['error']]).toMatchObject([404, { code: 'BZZZ_NODE_NOT_FOUND' }])
  })

  it('answers 409 to the last node that keeps copies', async () => {
    const name = daemon.peerId.slice(-8)
    for (const path of [`/v1/nodes/${name}/drain`, `/v1/nodes/${daemon.peerId}/remove`]) {
      const { status, body } = await call('POST', path, 'admin')
      expect([status, body['error']]).toMatchObject([409, { code: 'BZZZ_NODE_NOT_DRAINED' }])
    }
  })

  it('answers 400 to a body it does not understand', async () => {
    const path = `/v1/nodes/${daemon.peerId}/remove`
    const { status, body } = await call('POST', path, 'admin', { force: 'yes' })
    expect([status, body['error']]).toMatchObject([400, { code: 'BZZZ_REQUEST_INVALID' }])
  })
})

describe('GET /v1/status', () => {
  it('tells how copies stand', async () => {
    const { body } = await call('GET', '/v1/status', 'viewer')
    expect(body['replication']).toEqual({
      owed: 0,
      underReplicated: 0,
      handedOff: 0,
      repairing: 0,
      queued: 0,
      parked: 0,
      rebalance: { state: 'idle', scannedBlobs: 0, totalBlobs: 0 },
      draining: false,
      remaining: 0,
    })
  })
})
