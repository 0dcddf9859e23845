import { PartitionMinorityError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Mesh } from './mesh.ts'

/** How much of the cluster a node can reach, itself included. */
export interface Reach {
  /** Nodes of the allow-list and this one. */
  members: number
  inReach: number
  /** The smallest majority of the members. */
  needed: number
  /** `minority`: fewer are in reach than are needed. */
  partition: 'none' | 'minority'
}

type ReachMesh = Pick<Mesh, 'peers' | 'expectedPeers'>

/**
 * Two sides of a partition cannot both have a majority, so at most one of them goes on to write.
 * Every node of the allow-list counts, seen or not: a node that was never here may be on the other
 * side. Of two nodes the majority is both; a cluster of one always has it.
 */
export function reachOf(mesh: ReachMesh): Reach {
  const members = 1 + mesh.expectedPeers().length
  const inReach = 1 + mesh.peers().length
  const needed = Math.floor(members / 2) + 1
  return { members, inReach, needed, partition: inReach < needed ? 'minority' : 'none' }
}

/** @throws PartitionMinorityError at once, where a write would wait for nodes out of reach */
export function requireMajority(mesh: ReachMesh): void {
  const { members, inReach, needed, partition } = reachOf(mesh)
  if (partition === 'none') return
  throw new PartitionMinorityError(
    `This node reaches ${inReach} of ${members} nodes, and a write needs ${needed} of them.`,
  )
}

/** Says once that this node is cut off from the majority, and once that it is not any more. */
export function reportPartition(components: { mesh: ReachMesh & Pick<Mesh, 'on'>; log: Logger }) {
  const { mesh } = components
  const log = components.log.child({ component: 'partition' })
  let last: Reach['partition'] = 'none'
  const look = (): void => {
    const { partition, ...reach } = reachOf(mesh)
    if (partition === last) return
    last = partition
    if (partition === 'minority') log.warn(reach, 'cut off from the majority, writes are refused')
    else log.info(reach, 'the majority is in reach again')
  }
  mesh.on('join', look)
  mesh.on('leave', look)
}

/** Whether a majority of the members, this node among them, has the same wall clock as it. */
export function agreesOnTime(mesh: ReachMesh, differenceMsMax: number): boolean {
  const agreeing = mesh.peers().filter(({ clockAheadMs }) => {
    return clockAheadMs !== null && Math.abs(clockAheadMs) <= differenceMsMax
  })
  // Alone a node can confirm nothing to itself.
  return agreeing.length > 0 && 1 + agreeing.length >= reachOf(mesh).needed
}
