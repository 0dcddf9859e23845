import type { Startable } from '../../shared/lifecycle.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import { Provider, type ProviderComponents } from './provider.ts'
import { ProviderStore } from './provider-store.ts'

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
