import type { FileAllowList } from '../mesh/allow-list.ts'
import type { NetworkKey } from '../mesh/network-key.ts'
import type { NodeKey } from '../mesh/node-key.ts'
import type { Admissions } from '../nodes/admissions.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Door } from './door.ts'
import type { Invitations } from './invitations.ts'
import { Inviter } from './inviter.ts'
import { Joiner, type JoinerComponents } from './joiner.ts'
import { PendingJoin } from './pending-join.ts'
import { TokenKeys } from './token-keys.ts'

export interface JoinComponents {
  mesh: JoinerComponents['mesh']
  door: Door
  allowList: FileAllowList
  admissions: Admissions
  invitations: Invitations
  networkKey: NetworkKey
  nodeKey: NodeKey
  log: Logger
}

/** How nodes come into a cluster: both sides of it. */
export function composeJoin(
  components: JoinComponents,
  init: { dataDir: string; tokenKeysFile: string; connectedTimeoutMs?: number | undefined },
) {
  const { log } = components
  const tokenKeys = new TokenKeys({ path: init.tokenKeysFile })
  const inviter = new Inviter({ ...components, tokenKeys })
  const joiner = new Joiner({ ...components, tokenKeys }, init)
  const pending = new PendingJoin({ joiner, log }, { dataDir: init.dataDir })
  const { mesh } = components
  const identity = () => {
    const { peerId, name } = mesh.self
    return { peerId, name, addresses: mesh.announced().map((text) => `${text}/p2p/${peerId}`) }
  }
  return { inviter, joiner, pending, routes: { inviter, joiner, identity }, parts: [pending] }
}
