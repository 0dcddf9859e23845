import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { Peer } from '../../p2p-daemon/mesh/mesh.ts'
import { startDaemons, type Daemon, type Daemons } from '../helpers/daemons.ts'
import { EventReader } from '../helpers/event-reader.ts'
import { until } from '../helpers/mesh.ts'

/** The shortest that is granted, so that the test need not wait long for its end. */
const LEASE = '5s'

let daemons: Daemons

const node = (index: number): Daemon => daemons.nodes[index]!

beforeAll(async () => {
  daemons = await startDaemons(3)
})

afterAll(() => daemons.stop())

async function register(through: Daemon, agent: string, body: object): Promise<void> {
  const headers = {
    authorization: `Bearer ${daemons.token}`,
    'content-type': 'application/json',
  }
  const init = { method: 'PUT', headers, body: JSON.stringify(body) }
  const answer = await fetch(`${through.url}/v1/agents/${agent}`, init)
  expect(answer.status).toBe(201)
}

async function names(through: Daemon, query = ''): Promise<string[]> {
  const url = `${through.url}/v1/agents${query}`
  const { agents } = (await daemons.getJSON(url)) as { agents: { agent: string }[] }
  return agents.map(({ agent }) => agent)
}

const listen = (through: Daemon, query = '', lastEventId?: string): Promise<EventReader> =>
  EventReader.open(`${through.url}/v1/events${query}`, {
    token: daemons.token,
    ...(lastEventId !== undefined && { lastEventId }),
  })

describe('agents and events of three daemons', () => {
  it('tell what a node does that is killed: its agents go, and it is said', async () => {
    await using reader = await listen(node(0))
    const capabilities = { skills: ['review'] }
    await register(node(2), 'reviewer@apollo', { capabilities, lease: LEASE })
    await register(node(1), 'tester@apollo', { lease: '1h' })
    await register(node(2), 'writer@apollo', { lease: '1h' })
    await until(async () => (await names(node(0))).length === 3, 'all agents at the first node')
    expect(await names(node(1), '?capability=review')).toEqual(['reviewer@apollo'])
    const known = await reader.first('agent.registered', ({ name }) => name === 'reviewer')
    expect(known.data).toMatchObject({ agent: 'reviewer@apollo', node: node(2).peerId })

    const { peerId } = node(2)
    await node(2).kill()
    const left = await reader.first('peer.left')
    expect(left.data).toMatchObject({ node: { peerId, name: 'node3' } })
    const gone = await reader.first('agent.expired')
    expect(gone.data).toMatchObject({ agent: 'reviewer@apollo', node: peerId })
    expect(await names(node(0))).not.toContain('reviewer@apollo')
  })

  it('are there again after the kill of a daemon, where their lease has not run out', async () => {
    await node(2).start()
    expect(await names(node(2))).toContain('writer@apollo')
    await daemons.meshed()
    await until(async () => (await names(node(0))).includes('writer@apollo'), 'it at another node')
    // Who comes back learns of the others too.
    await until(async () => (await names(node(2))).includes('tester@apollo'), 'the others at it')
  })

  it('go on where a reader left, and say what was lost with a restart', async () => {
    const first = await listen(node(0), '?types=agent.*')
    await register(node(0), 'one@resume', { lease: '1h' })
    await first.first('agent.registered', ({ agent }) => agent === 'one@resume')
    await first.close()
    await register(node(1), 'two@resume', { lease: '1h' })
    await until(async () => (await names(node(0))).includes('two@resume'), 'the second agent')
    await using second = await listen(node(0), '?types=agent.*', first.lastEventId)
    await second.first('agent.registered', ({ agent }) => agent === 'two@resume')
    const seen = second.events.map(({ type, data }) => `${type} ${String(data['agent'])}`)
    expect(seen).not.toContain('agent.registered one@resume')
    expect(second.of('gap')).toEqual([])
    await node(0).stop()
    await until(() => second.ended, 'the end of the stream')
    await node(0).start()
    await using third = await listen(node(0), '', second.lastEventId)
    expect((await third.first('gap')).data).toMatchObject({ reason: 'restarted' })
    expect(third.events[0]!.type).toBe('gap')
  })

  it('show how far away each peer is', async () => {
    await daemons.meshed()
    const measured = async (): Promise<boolean> => {
      const { peers } = (await daemons.getJSON(`${node(1).url}/v1/peers`)) as { peers: Peer[] }
      return peers.length === 2 && peers.every(({ latencyMs }) => latencyMs !== null)
    }
    await until(measured, 'a ping to both')
    expect(await measured()).toBe(true)
  })
})
