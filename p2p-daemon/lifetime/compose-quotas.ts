import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { RecordStore } from '../records/record-store.ts'
import { PeerFollower } from './peer-follower.ts'
import { QuotaLimits, type QuotaLimitsInit } from './quota-limits.ts'
import { QUOTA_PROTOCOL } from './quota-protocol.ts'
import { Quotas } from './quotas.ts'
import { Reservations } from './reservations.ts'
import { UsageStore } from './usage-store.ts'
import { UsageSync } from './usage-sync.ts'

export interface QuotaComponents {
  mesh: Mesh
  records: Pick<RecordStore, 'contents'>
  log: Logger
  clock?: Clock
}

/** Limits of projects and what they keep, wired; `parts` are started in order. */
export function composeQuotas(
  { mesh, records, log, clock = SYSTEM_CLOCK }: QuotaComponents,
  init: QuotaLimitsInit & { usageFile: string },
) {
  const limits = new QuotaLimits({ log }, init)
  const usage = new UsageStore(init.usageFile)
  const reservations = new Reservations({ clock })
  const sync = new UsageSync({
    mesh,
    usage,
    records,
    onCounted: (rows) => {
      for (const { project, hash } of rows) reservations.drop(project, hash)
    },
  })
  const quotas = new Quotas({ mesh, limits, usage, reservations, sync })
  const pull = (peerId: string, signal: AbortSignal): Promise<number> => sync.pull(peerId, signal)
  const follower = new PeerFollower({ mesh, log, pull }, { what: 'usage' })
  mesh.handle(QUOTA_PROTOCOL, quotas.handle)
  const parts: Startable[] = [limits, follower]
  return { quotas, limits, sync, parts, close: () => usage.close() }
}
