import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

/** Where things lie below the data folder of a node. */
export interface NodeLayout {
  dataDir: string
  configDir: string
  recordsFile: string
  agentsFile: string
  providedFile: string
  ledgerFile: string
  pinsFile: string
  candidatesFile: string
  usageFile: string
  scrubFile: string
  quotasFile: string
  ownershipFile: string
  revocationsFile: string
  auditSpoolDir: string
}

/** Folders that exist in every node's data folder; the blob store makes its own below `blobs/`. */
const FOLDERS = [
  'config',
  'dht',
  'blobs/index',
  'logs/application',
  'logs/p2p',
  'logs/monitoring',
] as const

export async function createNodeLayout(dataDir: string): Promise<NodeLayout> {
  for (const folder of FOLDERS) {
    await mkdir(join(dataDir, folder), { recursive: true, mode: 0o700 })
  }
  return {
    dataDir,
    configDir: join(dataDir, 'config'),
    recordsFile: join(dataDir, 'dht', 'records.db'),
    agentsFile: join(dataDir, 'dht', 'agents.db'),
    providedFile: join(dataDir, 'dht', 'provided.db'),
    ledgerFile: join(dataDir, 'blobs', 'index', 'replication.db'),
    pinsFile: join(dataDir, 'blobs', 'index', 'pins.db'),
    candidatesFile: join(dataDir, 'blobs', 'index', 'gc.db'),
    usageFile: join(dataDir, 'blobs', 'index', 'quota.db'),
    scrubFile: join(dataDir, 'blobs', 'index', 'scrub.db'),
    ownershipFile: join(dataDir, 'config', 'ownership.json'),
    quotasFile: join(dataDir, 'config', 'quotas.json'),
    revocationsFile: join(dataDir, 'config', 'revocations.json'),
    auditSpoolDir: join(dataDir, 'logs', 'audit'),
  }
}
