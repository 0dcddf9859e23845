import { join, resolve } from 'node:path'

/** Where everything lies below the folder given by `--data`. */
export interface DataLayout {
  root: string
  /** Says that the folder is ours, and which format it has. */
  marker: string
  lock: string
  /** Endpoints and process ids of the `bzzz up` that runs; absent after a clean stop. */
  running: string
  config: string
  adminToken: string
  tokenPrivateKey: string
  tokenPublicKeys: string
  /** Signs what the connector sends to callback URLs. */
  callbackSecret: string
  /** Where the chain of audit rows ended when it was last verified here. */
  auditAnchor: string
  postgres: string
  nodes: string
  /** What was deployed on the gateway, and the secrets of functions. */
  gateway: string
  logs: string
  /** Compiled code of Node, so that later starts are quicker. May be deleted at any time. */
  cache: string
}

export function layoutOf(dataDir: string): DataLayout {
  const root = resolve(dataDir)
  const config = join(root, 'config')
  return {
    root,
    marker: join(root, 'bzzz.json'),
    lock: join(root, 'lock.db'),
    running: join(root, 'running.json'),
    config,
    adminToken: join(config, 'admin.token'),
    tokenPrivateKey: join(config, 'token-key.json'),
    tokenPublicKeys: join(config, 'token-keys.json'),
    callbackSecret: join(config, 'callback.secret'),
    auditAnchor: join(config, 'audit-anchor.json'),
    postgres: join(root, 'postgres'),
    nodes: join(root, 'nodes'),
    gateway: join(root, 'gateway'),
    logs: join(root, 'logs'),
    cache: join(root, 'cache'),
  }
}
