import { openAccess, type Access } from '../shared/auth/access.ts'
import { openDatabase, type OpenDatabase } from '../shared/db/database.ts'
import { startAll, stopAll, type Startable } from '../shared/lifecycle.ts'
import { isLoopbackHost } from '../shared/http/loopback.ts'
import { createLogger, type Logger } from '../shared/log/log.ts'
import { createRegistry, type Registry } from '../shared/metrics/metrics.ts'
import type { Running } from '../shared/process/entry.ts'
import type { AddressRecord } from '../shared/record/record.ts'
import { VERSION } from '../shared/version.ts'
import { composeRevocations } from './access/compose.ts'
import { composeAgents, gossipOver } from './agents/compose.ts'
import { CLOCK_STEP_MS_MAX, SteadyClock, type Clock } from './clock.ts'
import type { DaemonConfig } from './config.ts'
import { composeProvider, composeRoots } from './dht/compose.ts'
import { RecordDHT } from './dht/kad-dht.ts'
import { rootKey } from './dht/keys.ts'
import type { Provider } from './dht/provider.ts'
import { composeEvents } from './events/compose.ts'
import { HttpServer } from './http/server.ts'
import { LastError } from './last-error.ts'
import { createNodeLayout, type NodeLayout } from './layout.ts'
import { composeJoin } from './join/compose.ts'
import { Door } from './join/door.ts'
import { Invitations } from './join/invitations.ts'
import { FileAllowList } from './mesh/allow-list.ts'
import { listenAddress } from './mesh/addresses.ts'
import { Libp2pMesh } from './mesh/libp2p-mesh.ts'
import { NetworkKey } from './mesh/network-key.ts'
import { loadNodeKey, type NodeKey } from './mesh/node-key.ts'
import { agreesOnTime, reportPartition } from './mesh/partition.ts'
import { createNodeMetrics } from './node-metrics.ts'
import { NodeState } from './nodes/node-state.ts'
import { composeModels } from './models/compose.ts'
import { Nodes } from './nodes/nodes.ts'
import { composeQuotas } from './lifetime/compose-quotas.ts'
import { composeLifetime } from './lifetime/compose.ts'
import { exchangeRoots } from './lifetime/exchange-roots.ts'
import { threadRoots } from './lifetime/thread-roots.ts'
import { composeOwnership } from './ownership/compose.ts'
import { Ownership } from './ownership/ownership.ts'
import { composeRecords } from './records/compose.ts'
import { composeReplication } from './replication/compose.ts'
import type { RecordStore } from './records/record-store.ts'
import { CorruptReports } from './replication/corrupt-reports.ts'
import { composeScrub } from './scrub/compose.ts'
import { createStatus } from './status.ts'
import type { BlobStore } from './store/blob-store.ts'
import { DiskStore } from './store/disk-store.ts'
import { createStoreMetrics } from './store/store-metrics.ts'
import type { BlobTransfer } from './transfer/blob-transfer.ts'
import { composeTransfer } from './transfer/compose.ts'

/** The search index, revocations and audit rows: one each. */
const DATABASE_CONNECTIONS_MAX = 3

/** What every part of the node is given. */
interface Base {
  config: DaemonConfig
  log: Logger
  registry: Registry
  layout: NodeLayout
  nodeKey: NodeKey
  database: OpenDatabase | undefined
  access: Access
  corrupt: CorruptReports
  state: NodeState
  lastError: LastError
  ownership: Ownership
  invitations: Invitations
  networkKey: NetworkKey
}

/** Composes one node from its parts and starts it. */
export async function startDaemon(config: DaemonConfig, signal: AbortSignal): Promise<Running> {
  const lastError = new LastError()
  const onError = (args: readonly unknown[]): void => lastError.note(args)
  const log = createLogger({ name: 'p2p-daemon', level: config.BZZZ_LOG_LEVEL, onError }).child({
    node: config.BZZZ_NODE_NAME,
  })
  const layout = await createNodeLayout(config.BZZZ_DATA_DIR)
  const registry = createRegistry({ component: 'p2p-daemon', version: VERSION })
  // The store takes the folder's lock, so it comes before anything else that writes there.
  const corrupt = new CorruptReports()
  const store = await openStore(config, { log, registry, corrupt }, signal)
  try {
    const state = await NodeState.load(layout.dataDir)
    const nodeKey = await loadNodeKey(layout.dataDir)
    const invitations = await Invitations.load(layout.dataDir)
    const networkKey = await NetworkKey.load(layout.dataDir, config.BZZZ_NETWORK_KEY)
    const database = config.DATABASE_URL
      ? openDatabase(config.DATABASE_URL, { log }, { connectionsMax: DATABASE_CONNECTIONS_MAX })
      : undefined
    const access = await openAccess(
      { log, registry, db: database?.db },
      {
        component: config.BZZZ_NODE_NAME,
        keysFile: config.BZZZ_TOKEN_KEYS_FILE,
        spoolDir: layout.auditSpoolDir,
      },
    )
    const ownership = await Ownership.load(layout.ownershipFile)
    const kept = { corrupt, state, ownership, lastError, invitations, networkKey }
    const base = { config, log, registry, layout, nodeKey, database, access, ...kept }
    const { parts, http } = compose(base, store)
    await startAll(parts, { signal })
    log.info({ peerId: nodeKey.peerId, port: http.port }, 'node serves')
    return { peerId: nodeKey.peerId, ports: { http: http.port }, stop: () => stopAll(parts) }
  } catch (error) {
    await store.stop()
    throw error
  }
}

async function openStore(
  config: DaemonConfig,
  { log, registry, corrupt }: Pick<Base, 'log' | 'registry' | 'corrupt'>,
  signal: AbortSignal,
): Promise<DiskStore> {
  const store = new DiskStore(
    {
      log,
      metrics: createStoreMetrics(registry),
      onCorrupt: (hash) => corrupt.report(hash),
    },
    { dataDir: config.BZZZ_DATA_DIR },
  )
  await store.start({ signal })
  return store
}

function compose(base: Base, store: DiskStore): { parts: Startable[]; http: HttpServer } {
  const { log, registry, layout, nodeKey, database } = base
  const onTableRecord = (record: AddressRecord): void => records.onTableRecord(record)
  const { mesh, dht, isMember, nameOf, allowList, clock, door } = composeMesh(base, onTableRecord)
  const providers = composeProvider({ mesh, dht, log, registry }, { file: layout.providedFile })
  reportPartition({ mesh, log })
  const transfer = composeTransfer(
    { log, mesh, allowList, nodeKey, store, registry },
    { host: listenHost(base.config), bulkPort: base.config.BZZZ_BULK_PORT },
  )
  const contents: Pick<BlobStore, 'get'> = { get: (...args) => replication.blobs.get(...args) }
  const addresses = { mesh, dht, isMember, store, contents, providers, clock }
  const { records, policy, roots } = composeAddresses(base, addresses)
  const kept = composeKept(base, { ...addresses, records: records.store, roots })
  const { pins, isGarbage } = kept.lifetime
  const canDrop = (): boolean => pins.activeHold() === undefined
  const { provider } = providers
  const copies = composeCopies(base, {
    ...{ mesh, allowList, store, transfer, canDrop, isGarbage, provider },
  })
  const { replication, nodes } = copies
  const news = composeNews(base, { mesh, provider, isMember, nameOf, records, replication })
  const join = composeJoin(
    { ...base, mesh, door, allowList, admissions: nodes.admissions },
    { dataDir: layout.dataDir, tokenKeysFile: base.config.BZZZ_TOKEN_KEYS_FILE },
  )
  const scrub = composeScrubbing(base, { store, repair: replication.repair })
  const access = composeAccess(base, mesh)
  const who = { nodes, news, join, access, policy }
  const served = { store, mesh, replication, records, kept, scrub, ...who }
  const http = composeHttp(base, served)
  return {
    http,
    parts: [
      store,
      closing(replication.close),
      closing(kept.lifetime.close),
      closing(kept.quotas.close),
      closing(scrub.close),
      closing(() => records.store.close()),
      closing(providers.close),
      closing(news.agents.close),
      closing(() => database?.close()),
      closing(() => base.access.close()),
      mesh,
      dht,
      ...providers.parts,
      transfer,
      ...records.parts,
      ...replication.parts,
      ...policy.parts,
      ...news.agents.parts,
      ...news.events.parts,
      ...news.models.parts,
      ...roots.parts,
      ...kept.lifetime.parts,
      ...kept.quotas.parts,
      ...scrub.parts,
      ...access.parts,
      http,
      ...join.parts,
    ],
  }
}

/** What addresses point at, and which nodes may say so. */
function composeAddresses(
  { log, registry, layout, nodeKey, database, ownership }: Base,
  parts: {
    mesh: Libp2pMesh
    dht: RecordDHT
    isMember: (peerId: string) => boolean
    store: DiskStore
    contents: Pick<BlobStore, 'get'>
    providers: ReturnType<typeof composeProvider>
    clock: Clock
  },
) {
  const { mesh, dht, isMember, store, contents: blobs, providers, clock } = parts
  const onPolicy = (): void => policy.watch.wake()
  const onRecord = (record: AddressRecord): void => roots.announcer.onRecord(record)
  const records = composeRecords(
    {
      ...{ mesh, dht, blobs: store, isMember, database, ownership, log, registry },
      ...{ onPolicy, onRecord, clock },
    },
    { recordsFile: layout.recordsFile, nodeKey },
  )
  const { lookup, store: held } = records
  const policy = composeOwnership({ ownership, mesh, lookup, records: held, blobs, log })
  const { provider, store: provided } = providers
  const roots = composeRoots({ provider, provided, records: held, blobs: store, log })
  return { records, policy, roots }
}

/** Who may do what: the keys, what was revoked, and where it is written down. */
function composeAccess({ config, log, layout, access: { auth } }: Base, mesh: Libp2pMesh) {
  const { store, spread, parts } = composeRevocations(
    { mesh, log },
    { file: layout.revocationsFile, tokenKeysFile: config.BZZZ_TOKEN_KEYS_FILE },
  )
  // What peers told comes first: it is there without a database, and at once.
  const isRevoked = (tokenId: string) =>
    store.isRevoked(tokenId) || (auth.isRevoked?.(tokenId) ?? false)
  const routes = { revocations: store, revocationSpread: spread }
  return { auth: { ...auth, isRevoked }, routes, parts }
}

function composeScrubbing(
  { config, log, registry, layout }: Base,
  parts: Pick<Parameters<typeof composeScrub>[0], 'store' | 'repair'>,
) {
  return composeScrub(
    { ...parts, log, registry },
    {
      scrubFile: layout.scrubFile,
      periodMs: config.BZZZ_SCRUB_PERIOD,
      bytesPerSecondMax: config.BZZZ_SCRUB_BYTES_PER_SECOND,
      ioShare: config.BZZZ_SCRUB_IO_SHARE,
    },
  )
}

/** Who does what in the cluster, and what happens there. */
function composeNews(
  { config, log, registry, layout }: Base,
  parts: {
    mesh: Libp2pMesh
    provider: Provider
    isMember: (peerId: string) => boolean
    nameOf: (peerId: string) => string | null
    records: { store: RecordStore }
    replication: ReturnType<typeof composeReplication>
  },
) {
  const { mesh, provider, isMember, nameOf, records, replication } = parts
  const agents = composeAgents(
    { mesh, createTopic: gossipOver(mesh), provider, isMember, nameOf, log, registry },
    { agentsFile: layout.agentsFile },
  )
  const { registry: known } = agents
  const events = composeEvents({
    mesh,
    agents: known,
    records: records.store,
    replication,
    log,
    registry,
  })
  const models = composeModels(
    { mesh, streams: mesh, agents, log },
    {
      url: config.BZZZ_MODELS_URL,
      key: config.BZZZ_MODELS_KEY,
      shared: config.BZZZ_MODELS_SHARED,
    },
  )
  return { agents, events, models }
}

/** What decides how long blobs stay, and how many a project may keep. */
function composeKept(
  { config, log, registry, layout }: Base,
  parts: {
    mesh: Libp2pMesh
    store: DiskStore
    records: RecordStore
    contents: Pick<BlobStore, 'get'>
    roots: ReturnType<typeof composeRoots>
    clock: Clock
  },
) {
  const { mesh, store, records, contents, roots, clock } = parts
  const linked = { records, blobs: contents }
  const sources = [threadRoots(linked), exchangeRoots(linked)]
  const onDeleted = (hash: string): void => roots.announcer.onDeleted(hash)
  const lifetime = composeLifetime(
    { mesh, store, records, sources, log, registry, clock, onDeleted },
    {
      pinsFile: layout.pinsFile,
      candidatesFile: layout.candidatesFile,
      graceMs: config.BZZZ_GC_GRACE,
      periodMs: config.BZZZ_GC_PERIOD,
    },
  )
  const quotas = composeQuotas(
    { mesh, records, log, clock },
    { file: layout.quotasFile, text: config.BZZZ_QUOTAS, usageFile: layout.usageFile },
  )
  return { lifetime, quotas }
}

/** What keeps copies where they belong, and says which nodes those are. */
function composeCopies(
  { config, log, registry, layout, corrupt, state }: Base,
  parts: {
    mesh: Libp2pMesh
    allowList: FileAllowList
    store: DiskStore
    transfer: BlobTransfer
    canDrop: () => boolean
    isGarbage: (hash: string) => boolean
    provider: Provider
  },
) {
  const { mesh, allowList, store, transfer, canDrop, isGarbage, provider } = parts
  const findProviders = (hash: string, signal: AbortSignal): AsyncIterable<string> =>
    provider.findProviders(rootKey(hash), { signal })
  const isDraining = (): boolean => state.draining
  const replication = composeReplication(
    {
      ...{ mesh, store, transfer, log, registry, corrupt },
      ...{ isDraining, canDrop, isGarbage, findProviders },
    },
    {
      ledgerFile: layout.ledgerFile,
      awayGraceMs: config.BZZZ_NODE_AWAY_GRACE,
      repairBytesPerSecond: config.BZZZ_REPAIR_BYTES_PER_SECOND,
    },
  )
  const { members, rebalancer, forgetful } = replication
  const report = async () => ({ ...(await replication.status()), ...(await store.usage()) })
  const rescan = (): void => rebalancer.request()
  const nodes = new Nodes(
    { mesh, allowList, members, state, report, rescan, log },
    { weight: config.BZZZ_WEIGHT, forgetful },
  )
  return { replication, nodes }
}

function composeMesh(
  { config, log, registry, nodeKey, networkKey, state, ownership }: Base,
  onRecord: (record: AddressRecord) => void,
) {
  const allowList = new FileAllowList({ log }, { dataDir: config.BZZZ_DATA_DIR })
  const isMember = (peerId: string): boolean => peerId === nodeKey.peerId || allowList.has(peerId)
  const door = new Door({ log, registry })
  const mesh = new Libp2pMesh(
    { log, nodeKey, allowList, registry, networkKey, door },
    {
      dataDir: config.BZZZ_DATA_DIR,
      listen: [listenAddress(listenHost(config), config.BZZZ_P2P_PORT)],
      announce: config.BZZZ_ANNOUNCE,
      bootstrap: config.DHT_BOOTSTRAP_NODES,
      nat: {
        autonat: config.BZZZ_NAT_AUTONAT,
        upnp: config.BZZZ_NAT_UPNP,
        relay: config.BZZZ_NAT_RELAY,
        holePunch: config.BZZZ_NAT_HOLE_PUNCH,
      },
      mdns: isFoundByMDNS(config),
      nodeInfo: {
        name: config.BZZZ_NODE_NAME,
        version: VERSION,
        roles: config.BZZZ_ROLES,
        storage: config.BZZZ_WEIGHT > 0,
        weight: state.draining ? 0 : config.BZZZ_WEIGHT,
        zone: config.BZZZ_ZONE,
        bulkPort: null,
      },
    },
  )
  const nameOf = (peerId: string): string | null =>
    peerId === nodeKey.peerId
      ? config.BZZZ_NODE_NAME
      : (mesh.peer(peerId)?.name ?? allowList.nameOf(peerId) ?? null)
  // What a node signed while it was a member still stands when it has been removed.
  const isAuthorAllowed = (peerId: string): boolean =>
    isMember(peerId) || state.removals.some((removal) => removal.peerId === peerId)
  const isConfirmed = (): boolean => agreesOnTime(mesh, CLOCK_STEP_MS_MAX)
  const clock = new SteadyClock({ log, registry, isConfirmed })
  const mayStand = (record: AddressRecord): boolean => ownership.mayStand(record)
  const dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed, mayStand, onRecord })
  return { mesh, dht, isMember, nameOf, allowList, clock, door }
}

function composeHttp(
  { config, log, registry, nodeKey, lastError }: Base,
  parts: {
    store: DiskStore
    mesh: Libp2pMesh
    replication: ReturnType<typeof composeReplication>
    records: ReturnType<typeof composeRecords>
    nodes: Nodes
    news: ReturnType<typeof composeNews>
    join: ReturnType<typeof composeJoin>
    kept: ReturnType<typeof composeKept>
    scrub: ReturnType<typeof composeScrub>
    policy: ReturnType<typeof composeOwnership>
    access: ReturnType<typeof composeAccess>
  },
): HttpServer {
  const { store, mesh, replication, records, kept, scrub } = parts
  const { nodes, news, join, access, policy } = parts
  const { pins, retention, collector } = kept.lifetime
  const { scrubber } = scrub
  const status = createStatus({
    mesh,
    store,
    records: records.store,
    replication: replication.status,
    searchIndex: records.searchIndex,
    pins,
    collector,
    scrubber,
    agents: news.agents,
    lastError,
    join: join.pending,
  })
  const { onResolve } = createNodeMetrics({ registry, status })
  const routes = {
    blobs: replication.blobs,
    local: store,
    records: records.service,
    announcer: records.announcer,
    lookup: records.lookup,
    search: records.search,
    ownership: policy.ownership,
    ownershipWatch: policy.watch,
    mesh,
    nodes,
    ...news,
    ...join.routes,
    pins,
    retention,
    collector,
    quotas: kept.quotas.quotas,
    ...access.routes,
    scrubber,
    status,
    onResolve,
    selfId: nodeKey.peerId,
    putBytesMax: config.BZZZ_PUT_BYTES_MAX,
  }
  return new HttpServer(
    { log, registry, auth: access.auth, routes },
    {
      host: config.BZZZ_HOST,
      port: config.BZZZ_HTTP_PORT,
      // A node serves what it has even while it is alone, so readiness only tells the rest.
      ready: async () => {
        const { mesh: reach, store: disk, database: index } = await status()
        return { ready: true, detail: { mesh: reach, writable: disk.writable, database: index } }
      },
    },
  )
}

/** Where peers come in. */
function listenHost(config: DaemonConfig): string {
  return config.BZZZ_LISTEN ?? config.BZZZ_HOST
}

/** On loopback nobody but this machine would hear it. */
function isFoundByMDNS(config: DaemonConfig): boolean {
  if (config.BZZZ_MDNS !== 'auto') return config.BZZZ_MDNS === 'on'
  return !isLoopbackHost(listenHost(config))
}

/** Something that is open from its making and only needs to be closed in its turn. */
function closing(close: () => void | Promise<void>): Startable {
  return { start: () => Promise.resolve(), stop: async () => close() }
}
