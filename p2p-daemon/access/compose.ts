import { readTokenKeys } from '../../shared/auth/key-file.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import { PeerFollower } from '../lifetime/peer-follower.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { REVOCATION_PROTOCOL } from './revocation-protocol.ts'
import { RevocationSpread } from './revocation-spread.ts'
import { RevocationStore } from './revocation-store.ts'

export interface RevocationComponents {
  mesh: Mesh
  log: Logger
  clock?: Clock
}

/** What this node knows of revoked tokens, wired; `parts` are started in order. */
export function composeRevocations(
  { mesh, log, clock = SYSTEM_CLOCK }: RevocationComponents,
  init: { file: string; tokenKeysFile: string },
) {
  const readKeys = () => readTokenKeys(init.tokenKeysFile)
  const store = new RevocationStore({ readKeys, clock, log }, { path: init.file })
  const spread = new RevocationSpread({ mesh, store })
  const pull = (peerId: string, signal: AbortSignal) => spread.pull(peerId, signal)
  const follower = new PeerFollower({ mesh, log, pull }, { what: 'revocations' })
  mesh.handle(REVOCATION_PROTOCOL, spread.handle)
  const loading: Startable = { start: () => store.load(), stop: () => Promise.resolve() }
  const parts: Startable[] = [loading, follower]
  return { store, spread, parts }
}
