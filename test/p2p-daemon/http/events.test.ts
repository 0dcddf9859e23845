import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

import { STREAMS_PER_TOKEN_MAX } from '../../../p2p-daemon/events/constants.ts'
import type { TokenRequest } from '../../../shared/auth/token.ts'
import { EventReader } from '../../helpers/event-reader.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { until } from '../../helpers/mesh.ts'

let daemon: MemoryDaemon
let admin: string

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  admin = await daemon.tokens.create()
})

afterAll(() => daemon.close())

async function listen(
  query = '',
  { as, lastEventId }: { as?: Partial<TokenRequest>; lastEventId?: string } = {},
): Promise<EventReader> {
  const reader = await EventReader.open(`${daemon.url}/v1/events${query}`, {
    token: as ? await daemon.tokens.create(as) : admin,
    ...(lastEventId !== undefined && { lastEventId }),
  })
  onTestFinished(() => reader.close())
  return reader
}

async function send(path: string, init: { method: string; body?: object }): Promise<Response> {
  const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' }
  const body = JSON.stringify(init.body ?? {})
  const answer = await fetch(`${daemon.url}${path}`, { method: init.method, headers, body })
  expect(answer.ok).toBe(true)
  return answer
}

const register = (agent: string, body: object = {}) =>
  send(`/v1/agents/${agent}`, { method: 'PUT', body: { lease: '1h', ...body } })

async function writeRecord(address: string, content: string): Promise<void> {
  const headers = { authorization: `Bearer ${admin}` }
  const put = await fetch(`${daemon.url}/v1/blobs`, { method: 'PUT', body: content, headers })
  const { hash } = (await put.json()) as { hash: string }
  const body = { hash, mediaType: 'text/plain' }
  await send(`/v1/addresses?address=${encodeURIComponent(address)}`, { method: 'PUT', body })
}

const agentsOf = (reader: EventReader): unknown[] => reader.events.map(({ data }) => data['agent'])

describe('GET /v1/events', () => {
  it('tells of agents and records as they change, and of nothing that was before', async () => {
    await register('early@apollo')
    const reader = await listen()
    await register('reviewer@apollo', { role: 'lead' })
    await register('reviewer@apollo', { role: 'lead', load: 1 })
    await register('reviewer@apollo', { role: 'second' })
    await send('/v1/agents/reviewer@apollo', { method: 'DELETE' })
    await writeRecord('bzzz://reviewer@apollo/plan.md', 'a plan')
    const written = await reader.first('record.written')
    expect(written.data).toMatchObject({
      address: 'bzzz://reviewer@apollo/plan.md',
      version: 1,
      size: 6,
      mediaType: 'text/plain',
      author: daemon.peerId,
    })
    const about = reader.events.filter(({ type }) => type.startsWith('agent.'))
    expect(about.map(({ type, data }) => `${type} ${String(data['role'])}`)).toEqual([
      'agent.registered lead',
      'agent.changed second',
      'agent.withdrawn second',
    ])
    expect(agentsOf(reader)).not.toContain('early@apollo')
  })

  it('goes on where a reader left, without a gap, and tells one there is', async () => {
    const first = await listen('?types=agent.*')
    await register('one@resume')
    await first.first('agent.registered')
    await first.close()
    await register('two@resume')
    await register('three@resume')
    const second = await listen('?types=agent.*', { lastEventId: first.lastEventId })
    await second.first('agent.registered', ({ agent }) => agent === 'three@resume')
    expect(agentsOf(second)).toEqual(['two@resume', 'three@resume'])

    const stranger = await listen('', { lastEventId: 'before-1' })
    expect((await stranger.first('gap')).data).toMatchObject({
      reason: 'restarted',
      lastEventId: 'before-1',
    })
    expect(stranger.events[0]!.type).toBe('gap')
    // What is still kept comes after it.
    await stranger.first('agent.registered', ({ agent }) => agent === 'two@resume')
  })

  it('tells a token of nothing that it may not read', async () => {
    const types = '?types=agent.*,record.*'
    const limited = await listen(types, { as: { role: 'agent', projects: ['hera'] } })
    const blind = await listen(types, { as: { scopes: ['mesh:read', 'address:read'] } })
    const one = await listen('?project=zeus')
    await register('secret@zeus')
    await writeRecord('bzzz://secret@zeus/plan.md', 'a secret')
    await register('open@hera')
    await writeRecord('bzzz://open@hera/plan.md', 'no secret')
    await limited.first('record.written')
    await blind.first('record.written', ({ address }) => String(address).includes('hera'))
    await one.first('record.written')
    expect(JSON.stringify(limited.events)).not.toContain('zeus')
    expect(limited.events.map(({ type }) => type)).toEqual(['agent.registered', 'record.written'])
    expect(blind.events.map(({ type }) => type)).toEqual(['record.written', 'record.written'])
    expect(JSON.stringify(one.events)).not.toContain('hera')
    expect(one.events).toHaveLength(2)
  })

  it.each([
    ['a project that the token does not cover', '?project=zeus', 403],
    ['a project that is none', '?project=*', 400],
    ['a type that is none', '?types=agent.*,peers', 400],
  ])('refuses %s', async (_what, query, status) => {
    const as = { role: 'agent' as const, projects: ['hera'] }
    await expect(listen(query, { as })).rejects.toThrow(new RegExp(`^Error: ${status}|^${status}`))
  })

  it('bounds the streams of one token and closes them with the reader', async () => {
    const token = await daemon.tokens.create({ subject: 'many' })
    const open = () => EventReader.open(`${daemon.url}/v1/events`, { token })
    const readers = await Promise.all(Array.from({ length: STREAMS_PER_TOKEN_MAX }, open))
    await expect(open()).rejects.toThrow(/429 .*BZZZ_OVERLOADED/)
    await Promise.all(readers.map((reader) => reader.close()))
    const again = async (): Promise<boolean> =>
      open().then(
        (reader) => reader.close().then(() => true),
        () => false,
      )
    await until(again, 'room for another stream')
  })
})
