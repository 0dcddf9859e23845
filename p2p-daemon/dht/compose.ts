import type { Startable } from '../../shared/lifecycle.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import { Provider, type ProviderComponents } from './provider.ts'
import { ProviderStore } from './provider-store.ts'
import { RootAnnouncer, type RootAnnouncerComponents } from './root-announcer.ts'

export interface ProviderPartsComponents extends Omit<ProviderComponents, 'store' | 'clock'> {
  clock?: Clock
}

/** What announces this node and finds others; `parts` are started after the mesh and the table. */
export function composeProvider(
  { clock = SYSTEM_CLOCK, ...components }: ProviderPartsComponents,
  init: { file: string },
) {
  const store = new ProviderStore(init.file)
  const provider = new Provider({ ...components, store, clock })
  const parts: Startable[] = [provider]
  return { provider, store, parts, close: (): void => store.close() }
}

/** What announces the roots that lie on this node; `parts` are started after the records. */
export function composeRoots({
  clock = SYSTEM_CLOCK,
  ...components
}: Omit<RootAnnouncerComponents, 'clock'> & { clock?: Clock }) {
  const announcer = new RootAnnouncer({ ...components, clock })
  const parts: Startable[] = [announcer]
  return { announcer, parts }
}
