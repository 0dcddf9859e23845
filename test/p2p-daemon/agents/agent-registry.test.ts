import { describe, expect, it } from 'vitest'

import { AgentRegistry } from '../../../p2p-daemon/agents/agent-registry.ts'
import type { AnnouncedAgent, Announcement } from '../../../p2p-daemon/agents/announcement.ts'
import {
  AGENTS_MAX,
  AGENTS_PER_NODE_MAX,
  NODE_LEASE_MS,
} from '../../../p2p-daemon/agents/constants.ts'
import { agentOf } from '../../helpers/agent-mesh.ts'

const EVERYTHING = { after: '', limit: 10_000 }

function announced(more: Partial<AnnouncedAgent> = {}): AnnouncedAgent {
  return { ...agentOf(), registeredAtMs: 1, leaseMs: 30_000, leftMs: 30_000, ...more }
}

function said(sequence: number, more: Partial<Announcement> = {}): Announcement {
  return { epoch: 1, sequence, complete: false, agents: [], withdrawn: [], ...more }
}

function create() {
  const clock = { nowMs: 0 }
  const registry = new AgentRegistry({ now: () => clock.nowMs })
  const changes: string[] = []
  registry.onChange((change, { name, node }) => changes.push(`${change} ${name} ${node}`))
  const names = (): string[] => registry.search({}, EVERYTHING).map(({ name }) => name)
  return { registry, clock, changes, names }
}

describe('agent registry', () => {
  it('tells of agents that come, change, leave and fall silent, once each', () => {
    const { registry, clock, changes } = create()
    registry.hear('a', said(1, { agents: [announced()] }))
    registry.hear('a', said(2, { agents: [announced({ load: 0.9 })] }))
    registry.hear('a', said(3, { agents: [announced({ role: 'second' })] }))
    registry.hear('a', said(4, { withdrawn: ['reviewer@apollo'] }))
    registry.hear('a', said(5, { agents: [announced({ name: 'tester' })] }))
    clock.nowMs = 30_000
    registry.expire(() => true)
    registry.expire(() => true)
    expect(changes).toEqual([
      'registered reviewer a',
      'changed reviewer a',
      'withdrawn reviewer a',
      'registered tester a',
      'expired tester a',
    ])
  })

  it('keeps an agent for as long as its node said, by its own clock', () => {
    const { registry, clock, names } = create()
    // Days off, as a clock may be: it is shown and decides nothing.
    const skewed = announced({ registeredAtMs: 259_200_000, leftMs: 10_000 })
    registry.hear('a', said(1, { agents: [skewed] }))
    clock.nowMs = 9_999
    expect(names()).toEqual(['reviewer'])
    expect(registry.find('reviewer@apollo')?.leftMs).toBe(1)
    clock.nowMs = 10_000
    expect(names()).toEqual([])
    expect(registry.ofNode('a')).toEqual([])
  })

  it('lets no lease outlast the silence of its node', () => {
    const { registry, clock, names } = create()
    registry.hear('a', said(1, { agents: [announced({ leaseMs: 3_600_000, leftMs: 3_600_000 })] }))
    clock.nowMs = NODE_LEASE_MS - 1
    expect(names()).toEqual(['reviewer'])
    clock.nowMs = NODE_LEASE_MS
    expect(names()).toEqual([])
  })

  it('takes no message that is older than one it took, unless it asked for it', () => {
    const { registry, names } = create()
    const agents = [announced()]
    expect(registry.hear('a', said(5, { agents }))).toBe('taken')
    expect(registry.hear('a', said(6, { withdrawn: ['reviewer@apollo'] }))).toBe('taken')
    expect(registry.hear('a', said(5, { agents }))).toBe('stale')
    expect(registry.hear('a', said(6, { agents }))).toBe('stale')
    expect(registry.hear('a', { ...said(9, { agents }), epoch: 0 })).toBe('stale')
    expect(names()).toEqual([])
    // An answer has the number of the last message, or a lower epoch after its counter was lost.
    expect(registry.hear('a', said(5, { agents }), { asked: true })).toBe('stale')
    expect(registry.hear('a', said(6, { agents }), { asked: true })).toBe('taken')
    expect(registry.hear('a', { ...said(1), epoch: 0, complete: true }, { asked: true })).toBe(
      'taken',
    )
    expect(names()).toEqual([])
    expect(registry.hear('a', { ...said(0, { agents }), epoch: 2 })).toBe('taken')
    expect(registry.hear('b', said(1, { agents }))).toBe('taken')
  })

  it('forgets what a complete message does not name, of that node only', () => {
    const { registry, names } = create()
    registry.hear('a', said(1, { agents: [announced(), announced({ name: 'tester' })] }))
    registry.hear('b', said(1, { agents: [announced({ name: 'writer' })] }))
    registry.hear('a', said(2, { complete: true, agents: [announced({ name: 'tester' })] }))
    expect(names()).toEqual(['tester', 'writer'])
  })

  it('shows an agent that moved once, where its lease ends last', () => {
    const { registry, clock, changes } = create()
    registry.hear('a', said(1, { agents: [announced({ leftMs: 20_000 })] }))
    clock.nowMs = 5_000
    registry.hear('b', said(1, { agents: [announced({ leftMs: 20_000 })] }))
    expect(registry.search({}, EVERYTHING).map(({ node }) => node)).toEqual(['b'])
    clock.nowMs = 20_000
    registry.expire(() => true)
    expect(changes).toEqual(['registered reviewer a', 'changed reviewer b', 'changed reviewer b'])
    registry.hear('b', said(2, { withdrawn: ['reviewer@apollo'] }))
    expect(changes.at(-1)).toBe('withdrawn reviewer b')
  })

  it('drops everything of a node that is no member any more', () => {
    const { registry, names } = create()
    registry.hear('a', said(1, { agents: [announced()] }))
    registry.hear('b', said(9, { agents: [announced({ name: 'tester' })] }))
    expect(registry.expire((node) => node !== 'b')).toEqual([{ node: 'b', id: 'tester@apollo' }])
    expect(names()).toEqual(['reviewer'])
    // Let in again it counts anew.
    expect(registry.hear('b', said(1, { agents: [announced({ name: 'tester' })] }))).toBe('taken')
  })

  it('searches by capability of any kind, model, role and project, in pages', () => {
    const { registry } = create()
    const capabilities = { skills: ['write'], models: ['gpt'], tools: ['git'] }
    registry.hear(
      'a',
      said(1, {
        agents: [
          announced(),
          announced({ name: 'writer', role: null, capabilities }),
          announced({ name: 'writer', project: 'zeus', capabilities }),
        ],
      }),
    )
    const found = (filter: object, page = EVERYTHING): string[] =>
      registry.search(filter, page).map(({ name, project }) => `${name}@${project}`)
    expect(found({ capability: 'git' })).toHaveLength(3)
    expect(found({ capability: 'review' })).toEqual(['reviewer@apollo'])
    expect(found({ capability: 'gpt' })).toEqual(['writer@apollo', 'writer@zeus'])
    expect(found({ model: 'git' })).toEqual([])
    expect(found({ model: 'gpt', role: 'lead' })).toEqual(['writer@zeus'])
    expect(found({ covers: (project: string) => project === 'zeus' })).toEqual(['writer@zeus'])
    expect(found({}, { after: '', limit: 2 })).toEqual(['reviewer@apollo', 'writer@apollo'])
    expect(found({}, { after: 'writer@apollo', limit: 2 })).toEqual(['writer@zeus'])
  })

  it('is bounded for one node and altogether, and has room again when some left', () => {
    const { registry } = create()
    const many = (count: number): AnnouncedAgent[] =>
      Array.from({ length: count }, (_, index) => announced({ name: `n${index}` }))
    expect(registry.hear('a', said(1, { agents: many(AGENTS_PER_NODE_MAX) }))).toBe('taken')
    expect(registry.hear('a', said(2, { agents: [announced()] }))).toBe('full')
    expect(registry.hear('a', said(3, { agents: many(1) }))).toBe('taken')
    for (let node = 1; node < AGENTS_MAX / AGENTS_PER_NODE_MAX; node += 1) {
      registry.hear(`${node}`, said(1, { agents: many(AGENTS_PER_NODE_MAX) }))
    }
    expect(registry.hear('z', said(1, { agents: [announced()] }))).toBe('full')
    registry.hear('a', said(4, { complete: true }))
    expect(registry.hear('z', said(2, { agents: [announced()] }))).toBe('taken')
  })
})
