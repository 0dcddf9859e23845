import { Counter, Gauge, type Registry } from '../../shared/metrics/metrics.ts'
import type { ProviderStore } from './provider-store.ts'

export interface ProviderMetrics {
  provides: Counter<'result'>
  withdrawals: Counter
  lookups: Counter<'road'>
}

export function createProviderMetrics(
  registry: Registry,
  read: { store: Pick<ProviderStore, 'count'>; waiting: () => number },
): ProviderMetrics {
  const registers = [registry]
  new Gauge({
    name: 'bzzz_provider_keys',
    help: 'What this node announces itself for',
    labelNames: ['kind'],
    registers,
    collect() {
      for (const kind of ['root', 'capability'] as const) this.set({ kind }, read.store.count(kind))
    },
  })
  new Gauge({
    name: 'bzzz_provider_queue',
    help: 'Announcements that wait for their turn',
    registers,
    collect() {
      this.set(read.waiting())
    },
  })
  return {
    provides: new Counter({
      name: 'bzzz_provider_announcements_total',
      help: 'Announcements in the table; refused: more than this node may announce',
      labelNames: ['result'],
      registers,
    }),
    withdrawals: new Counter({
      name: 'bzzz_provider_withdrawals_total',
      help: 'Announcements taken back',
      registers,
    }),
    lookups: new Counter({
      name: 'bzzz_provider_lookups_total',
      help: 'Searches for providers, by the road on which the first was found',
      labelNames: ['road'],
      registers,
    }),
  }
}
