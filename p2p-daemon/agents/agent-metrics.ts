import { Counter, Gauge, type Registry } from '../../shared/metrics/metrics.ts'

const RESULTS = ['taken', 'full', 'stale', 'stranger', 'too_often', 'unreadable'] as const
const CHANGES = ['registered', 'changed', 'withdrawn', 'expired'] as const

export interface AgentMetrics {
  heard: (result: (typeof RESULTS)[number]) => void
  changed: (change: (typeof CHANGES)[number]) => void
}

export function createAgentMetrics(
  registry: Registry,
  read: { own: () => number; known: () => number },
): AgentMetrics {
  const registers = [registry]
  new Gauge({
    name: 'bzzz_agents',
    help: 'Agents: registered through this node, and known to it in the whole cluster',
    labelNames: ['scope'],
    registers,
    collect() {
      this.set({ scope: 'own' }, read.own())
      this.set({ scope: 'known' }, read.known())
    },
  })
  const announcements = new Counter({
    name: 'bzzz_agent_announcements_total',
    help: 'Announcements of other nodes, by what became of them',
    labelNames: ['result'],
    registers,
  })
  const changes = new Counter({
    name: 'bzzz_agent_changes_total',
    help: 'Agents that came, changed, left or fell silent, in the whole cluster',
    labelNames: ['change'],
    registers,
  })
  for (const result of RESULTS) announcements.inc({ result }, 0)
  for (const change of CHANGES) changes.inc({ change }, 0)
  return {
    heard: (result) => announcements.inc({ result }),
    changed: (change) => changes.inc({ change }),
  }
}
