import { expect, vi } from 'vitest'

import type { NodeStatus } from '../../p2p-daemon/status.ts'
import type { Daemon, Daemons } from '../helpers/daemons.ts'

/** Repairs of some thousand blobs on a busy machine; longer means that they do not come. */
const CONVERGE = { timeout: 180_000, interval: 250 }

/** A million blobs on a busy machine. */
const SCRUB = { timeout: 1_800_000, interval: 250 }

export async function statusOf(daemons: Daemons, node: Daemon): Promise<NodeStatus> {
  return (await daemons.getJSON(`${node.url}/v1/status`)) as NodeStatus
}

/** Every node holds that many blobs and owes no copy to another. */
export async function waitUntilConverged(daemons: Daemons, blobs: number): Promise<void> {
  await vi.waitFor(async () => {
    const all = await Promise.all(daemons.nodes.map((node) => statusOf(daemons, node)))
    const seen = all.map(({ store, replication }) => [store.blobs, replication.owed])
    expect(seen).toEqual(daemons.nodes.map(() => [blobs, 0]))
  }, CONVERGE)
}

export interface Scrub {
  state: string
  checked: number
  bad: number
  failed: number
}

/** Has a node read all its blobs again; resolves when it has. */
export async function scrub(daemons: Daemons, node: Daemon): Promise<Scrub> {
  const url = `${node.url}/v1/scrub`
  await daemons.getJSON(url, { method: 'POST' })
  return vi.waitFor(async () => {
    const pass = (await daemons.getJSON(url)) as Scrub
    expect(pass.state).toBe('done')
    return pass
  }, SCRUB)
}
