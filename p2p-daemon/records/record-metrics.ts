import { Counter, type Registry } from '../../shared/metrics/metrics.ts'
import type { RefusalReason } from './record-server.ts'

/** What of the records is counted beside the table: see dht/dht-metrics.ts. */
export function createRecordMetrics(registry: Registry) {
  const refused = new Counter({
    name: 'bzzz_records_refused_total',
    help: 'Records and messages about them that peers sent and this node did not take',
    labelNames: ['reason'],
    registers: [registry],
  })
  const repaired = new Counter({
    name: 'bzzz_records_repaired_total',
    help: 'Holders that a lookup found lagging and gave the newest record',
    registers: [registry],
  })
  return {
    onRepaired: (): void => repaired.inc(),
    onRefused: (reason: RefusalReason): void => refused.inc({ reason }),
  }
}
