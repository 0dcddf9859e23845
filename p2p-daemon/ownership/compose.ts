import type { Startable } from '../../shared/lifecycle.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import { OwnershipWatch, type OwnershipWatchComponents } from './ownership-watch.ts'

/** What keeps the policy of a node up to date; `parts` are started after the records. */
export function composeOwnership({
  clock = SYSTEM_CLOCK,
  ...components
}: Omit<OwnershipWatchComponents, 'clock'> & { clock?: Clock }) {
  const watch = new OwnershipWatch({ ...components, clock })
  const parts: Startable[] = [watch]
  return { ownership: components.ownership, watch, parts }
}
