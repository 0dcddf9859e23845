import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it, onTestFinished } from 'vitest'

import { AgentRegistry } from '../../../p2p-daemon/agents/agent-registry.ts'
import { AgentStore } from '../../../p2p-daemon/agents/agent-store.ts'
import { AGENTS_PER_NODE_MAX } from '../../../p2p-daemon/agents/constants.ts'
import { CapabilityAnnouncer } from '../../../p2p-daemon/agents/capability-announcer.ts'
import { OwnAgents } from '../../../p2p-daemon/agents/own-agents.ts'
import { AgentNotFoundError, InvalidRequestError, OverloadedError } from '../../../shared/errors.ts'
import { agentOf } from '../../helpers/agent-mesh.ts'

const LEASE_MS = 30_000
const WALL_MS = 1_800_000_000_000

/** One run of a daemon; `file` is what it leaves to the next. */
function start(file: string, init: { wallMs?: number } = {}) {
  const clock = { nowMs: 0, wallMs: init.wallMs ?? WALL_MS }
  const registry = new AgentRegistry({ now: () => clock.nowMs })
  const store = new AgentStore(file)
  const own = new OwnAgents({ registry, store, clock: () => clock.wallMs }, { selfId: 'self' })
  const announced = new Set<string>()
  const provider = {
    provide: (key: string) => announced.add(key).has(key),
    withdraw: (key: string) => void announced.delete(key),
  }
  const capabilities = new CapabilityAnnouncer({ own, store, provider })
  own.restore()
  capabilities.compare()
  onTestFinished(() => store.close())
  const pass = (ms: number): void => {
    clock.nowMs += ms
    clock.wallMs += ms
  }
  return { own, registry, store, announced, pass }
}

function newFile(): string {
  const dir = mkdtempSync(join(tmpdir(), 'bzzz-agents-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  return join(dir, 'agents.db')
}

describe('own agents', () => {
  it('registers, renews with a heartbeat and forgets what falls silent', () => {
    const { own, registry, pass } = start(newFile())
    expect(own.register(agentOf(), LEASE_MS)).toMatchObject({ created: true })
    pass(LEASE_MS - 1)
    expect(own.heartbeat('reviewer@apollo', { load: 0.5 })).toMatchObject({ load: 0.5 })
    pass(LEASE_MS - 1)
    expect(own.heartbeat('reviewer@apollo', {})).toMatchObject({ load: 0.5, leftMs: LEASE_MS })
    expect(own.register(agentOf({ load: 0 }), LEASE_MS)).toMatchObject({ created: false })
    pass(LEASE_MS)
    expect(own.list()).toEqual([])
    expect(() => own.heartbeat('reviewer@apollo', {})).toThrow(AgentNotFoundError)
    expect(registry.expire(() => true)).toEqual([{ node: 'self', id: 'reviewer@apollo' }])
  })

  it('goes on with a lease over a restart, for what is left of it', () => {
    const file = newFile()
    const before = start(file)
    const { agent } = before.own.register(agentOf(), LEASE_MS)
    before.own.register(agentOf({ name: 'tester' }), 2 * LEASE_MS)
    before.pass(10_000)
    before.own.heartbeat('reviewer@apollo', { load: 1 })
    before.store.close()

    const after = start(file, { wallMs: WALL_MS + 15_000 })
    expect(after.own.list()).toMatchObject([
      { name: 'reviewer', load: 1, leftMs: LEASE_MS - 5_000, registeredAtMs: agent.registeredAtMs },
      { name: 'tester', leftMs: 2 * LEASE_MS - 15_000 },
    ])
    after.store.close()

    const late = start(file, { wallMs: WALL_MS + LEASE_MS + 20_000 })
    expect(late.own.list()).toMatchObject([{ name: 'tester' }])
    late.store.close()

    // A clock that was set back gives a whole lease.
    const back = start(file, { wallMs: WALL_MS - 259_200_000 })
    expect(back.own.list()).toMatchObject([{ name: 'tester', leftMs: 2 * LEASE_MS }])
  })

  it('numbers its messages so that they rise over restarts, whatever the clock does', () => {
    const file = newFile()
    const first = start(file)
    const content = { complete: false, agents: [], withdrawn: [] }
    const one = first.own.announcement(content)
    const two = first.own.announcement(content)
    expect(two).toMatchObject({ epoch: one.epoch, sequence: one.sequence + 1 })
    expect(first.own.snapshot()).toMatchObject({ epoch: two.epoch, sequence: two.sequence })
    first.store.close()
    const second = start(file, { wallMs: WALL_MS - 259_200_000 })
    expect(second.own.announcement(content).epoch).toBeGreaterThan(one.epoch)
    // A file that was lost begins above by the clock.
    expect(start(newFile(), { wallMs: WALL_MS + 1 }).own.snapshot().epoch).toBe(WALL_MS + 1)
  })

  it('announces each capability while some agent has it, over restarts too', () => {
    const file = newFile()
    const { own, announced, store } = start(file)
    own.register(agentOf(), LEASE_MS)
    own.register(agentOf({ name: 'tester', role: null }), LEASE_MS)
    const shared = ['capability/skill/review', 'capability/model/llama-3', 'capability/tool/git']
    expect([...announced].toSorted()).toEqual([...shared, 'capability/role/lead'].toSorted())
    own.withdraw('reviewer@apollo')
    expect([...announced].toSorted()).toEqual(shared.toSorted())
    store.close()

    const withdrawn: string[] = []
    const later = new AgentStore(file)
    onTestFinished(() => later.close())
    const registry = new AgentRegistry()
    const restarted = new OwnAgents(
      { registry, store: later, clock: () => WALL_MS + LEASE_MS },
      { selfId: 'self' },
    )
    const provider = { provide: () => true, withdraw: (key: string) => void withdrawn.push(key) }
    const capabilities = new CapabilityAnnouncer({ own: restarted, store: later, provider })
    restarted.restore()
    capabilities.compare()
    expect(withdrawn.toSorted()).toEqual(shared.toSorted())
  })

  it('refuses what is too long and one agent too many', () => {
    const { own } = start(newFile())
    const skills = Array.from({ length: 40 }, (_, index) => `${index}`.padEnd(100, 'x'))
    const capabilities = { skills, models: [], tools: [] }
    expect(() => own.register(agentOf({ capabilities }), LEASE_MS)).toThrow(InvalidRequestError)
    for (let index = 0; index < AGENTS_PER_NODE_MAX; index += 1) {
      own.register(agentOf({ name: `n${index}` }), LEASE_MS)
    }
    expect(() => own.register(agentOf(), LEASE_MS)).toThrow(OverloadedError)
    own.withdraw('n0@apollo')
    expect(() => own.withdraw('n0@apollo')).toThrow(AgentNotFoundError)
    expect(own.register(agentOf(), LEASE_MS)).toMatchObject({ created: true })
  })
})
