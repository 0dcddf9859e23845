import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { composeEvents } from '../../p2p-daemon/events/compose.ts'
import { composeAgents } from '../../p2p-daemon/agents/compose.ts'
import { createKeyFileVerifier } from '../../shared/auth/key-file.ts'
import { LastError } from '../../p2p-daemon/last-error.ts'
import { startAll, stopAll } from '../../shared/lifecycle.ts'
import { createSilentLogger, type Logger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { composeRevocations } from '../../p2p-daemon/access/compose.ts'
import { HttpServer } from '../../p2p-daemon/http/server.ts'
import { SYSTEM_CLOCK } from '../../p2p-daemon/clock.ts'
import { composeJoin } from '../../p2p-daemon/join/compose.ts'
import { Door } from '../../p2p-daemon/join/door.ts'
import { Invitations } from '../../p2p-daemon/join/invitations.ts'
import { FileAllowList } from '../../p2p-daemon/mesh/allow-list.ts'
import { NetworkKey } from '../../p2p-daemon/mesh/network-key.ts'
import { composeModels } from '../../p2p-daemon/models/compose.ts'
import { createNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { NodeState } from '../../p2p-daemon/nodes/node-state.ts'
import { Nodes } from '../../p2p-daemon/nodes/nodes.ts'
import { composeQuotas } from '../../p2p-daemon/lifetime/compose-quotas.ts'
import { composeLifetime } from '../../p2p-daemon/lifetime/compose.ts'
import { exchangeRoots } from '../../p2p-daemon/lifetime/exchange-roots.ts'
import { threadRoots } from '../../p2p-daemon/lifetime/thread-roots.ts'
import { composeOwnership } from '../../p2p-daemon/ownership/compose.ts'
import { Ownership } from '../../p2p-daemon/ownership/ownership.ts'
import { composeRecords } from '../../p2p-daemon/records/compose.ts'
import type { RecordStore } from '../../p2p-daemon/records/record-store.ts'
import { composeReplication } from '../../p2p-daemon/replication/compose.ts'
import { composeScrub } from '../../p2p-daemon/scrub/compose.ts'
import { createStatus } from '../../p2p-daemon/status.ts'
import { MemoryStore } from '../../p2p-daemon/store/memory-store.ts'
import { MemoryNetwork } from './memory-mesh.ts'
import { createTestTokens, type TestTokens } from './tokens.ts'

export interface MemoryDaemon {
  url: string
  peerId: string
  tokens: TestTokens
  store: MemoryStore
  /** What it holds of addresses, to put in what nobody would write. */
  records: RecordStore
  close(): Promise<void>
}

/** A node of one with its real HTTP API on a real port; blobs in memory, nobody to talk to. */
export async function startMemoryDaemon(
  init: { putBytesMax?: number; quotas?: string; log?: Logger } = {},
): Promise<MemoryDaemon> {
  const dir = mkdtempSync(join(tmpdir(), 'bzzz-daemon-'))
  const log = init.log ?? createSilentLogger()
  const nodeKey = createNodeKey()
  const mesh = new MemoryNetwork().join(nodeKey.peerId)
  const store = new MemoryStore()
  const transfer = { fetch: () => Promise.reject(new Error('There is no peer.')) }
  const dht = { getRecord: () => Promise.resolve(undefined), putRecord: () => Promise.resolve() }
  const replication = composeReplication(
    { mesh, store, transfer, log },
    {
      ledgerFile: join(dir, 'replication.db'),
      awayGraceMs: 60_000,
      repairBytesPerSecond: 64 * 1024 * 1024,
    },
  )
  const allowList = new FileAllowList({ log }, { dataDir: dir })
  const nodes = new Nodes(
    {
      mesh,
      allowList,
      members: replication.members,
      state: await NodeState.load(dir),
      report: async () => ({ ...(await replication.status()), ...(await store.usage()) }),
      rescan: () => replication.rebalancer.request(),
      log,
    },
    { weight: 1, forgetful: false },
  )
  const registry = new Registry()
  const ownership = await Ownership.load(join(dir, 'ownership.json'))
  const onPolicy = (): void => policy.watch.wake()
  const records = composeRecords(
    {
      ...{ mesh, dht, blobs: store, ownership, onPolicy, database: undefined, log, registry },
      isMember: () => true,
      clock: SYSTEM_CLOCK,
    },
    { recordsFile: join(dir, 'records.db'), nodeKey },
  )
  const { lookup, store: held } = records
  const { blobs } = replication
  const policy = composeOwnership({ ownership, mesh, lookup, records: held, blobs, log })
  const agents = composeAgents(
    {
      mesh,
      createTopic: () => silentTopic(),
      provider: noProvider(),
      isMember: (peerId) => peerId === nodeKey.peerId,
      nameOf: () => 'walnut',
      log,
      registry,
    },
    { agentsFile: join(dir, 'agents.db') },
  )
  const lifetime = composeLifetime(
    {
      ...{ mesh, store, records: records.store, log, registry },
      sources: [threadRoots, exchangeRoots].map((roots) =>
        roots({ records: records.store, blobs: replication.blobs }),
      ),
    },
    {
      pinsFile: join(dir, 'pins.db'),
      candidatesFile: join(dir, 'gc.db'),
      graceMs: 86_400_000,
      periodMs: 0,
    },
  )
  const quotas = composeQuotas(
    { mesh, records: records.store, log },
    { file: join(dir, 'quotas.json'), text: init.quotas, usageFile: join(dir, 'quota.db') },
  )
  const scrub = composeScrub(
    { store, repair: replication.repair, log, registry },
    {
      scrubFile: join(dir, 'scrub.db'),
      periodMs: 0,
      bytesPerSecondMax: 64 * 1024 * 1024,
      ioShare: 1,
    },
  )
  const events = composeEvents({
    mesh,
    agents: agents.registry,
    records: records.store,
    replication,
    log,
    registry,
  })
  const models = composeModels({ mesh, streams: noStreams(), agents, log }, { shared: [] })
  const { pins, retention, collector } = lifetime
  const { scrubber } = scrub
  const tokens = await createTestTokens(dir)
  const revocations = composeRevocations(
    { mesh, log },
    { file: join(dir, 'revocations.json'), tokenKeysFile: tokens.keysFile },
  )
  const { routes: joinRoutes } = composeJoin(
    {
      mesh,
      door: new Door({ log, registry }),
      allowList,
      admissions: nodes.admissions,
      invitations: await Invitations.load(dir),
      networkKey: await NetworkKey.load(dir),
      nodeKey,
      log,
    },
    { dataDir: dir, tokenKeysFile: tokens.keysFile },
  )
  const health = () => ({ writable: true, reason: null })
  const status = createStatus({
    mesh,
    store: { usage: () => store.usage(), health },
    records: records.store,
    replication: replication.status,
    searchIndex: undefined,
    pins,
    collector,
    scrubber,
    agents,
    lastError: new LastError(),
  })
  const http = new HttpServer(
    {
      log,
      registry,
      auth: {
        verify: await createKeyFileVerifier(tokens.keysFile),
        isRevoked: (tokenId) => revocations.store.isRevoked(tokenId),
      },
      routes: {
        blobs: replication.blobs,
        local: store,
        records: records.service,
        announcer: records.announcer,
        lookup: records.lookup,
        search: records.search,
        ownership,
        ownershipWatch: policy.watch,
        mesh,
        nodes,
        agents,
        models,
        events,
        ...joinRoutes,
        pins,
        retention,
        collector,
        quotas: quotas.quotas,
        revocations: revocations.store,
        revocationSpread: revocations.spread,
        scrubber,
        status,
        selfId: nodeKey.peerId,
        putBytesMax: init.putBytesMax ?? 1024 * 1024,
      },
    },
    {
      host: '127.0.0.1',
      port: 0,
      ready: () => Promise.resolve({ ready: true }),
    },
  )
  const kept = [...lifetime.parts, ...quotas.parts, ...scrub.parts, ...revocations.parts]
  const parts = [
    store,
    ...records.parts,
    ...replication.parts,
    ...policy.parts,
    ...agents.parts,
    ...events.parts,
    ...kept,
    http,
  ]
  await startAll(parts)
  return {
    url: `http://127.0.0.1:${http.port}`,
    peerId: nodeKey.peerId,
    tokens,
    store,
    records: records.store,
    close: async () => {
      await stopAll(parts)
      records.store.close()
      agents.close()
      replication.close()
      lifetime.close()
      quotas.close()
      scrub.close()
      rmSync(dir, { recursive: true })
    },
  }
}

/** A road on which nobody listens. */
function silentTopic() {
  const nothing = (): Promise<void> => Promise.resolve()
  return { publish: nothing, onSubscriber: () => undefined, start: nothing, stop: nothing }
}

function noStreams() {
  const openStream = () => Promise.reject(new Error('There is no peer.'))
  return { openStream, handleStream: () => undefined }
}

function noProvider() {
  return {
    provide: () => true,
    withdraw: () => undefined,
    async *findProviders(): AsyncIterable<string> {
      // There is nobody else.
    },
  }
}
