import { kadDHT, passthroughMapper, type QueryEvent, type SingleKadDHT } from '@libp2p/kad-dht'

import { OverloadedError, PeerUnreachableError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import { compareRecords, decodeRecord, type AddressRecord } from '../../shared/record/record.ts'
import type { Libp2pMesh } from '../mesh/libp2p-mesh.ts'
import {
  FIND_PROVIDERS_TIMEOUT_MS,
  GET_GRACE_MS,
  GET_TIMEOUT_MS,
  KAD_PROTOCOL,
  LOOKUP_PEERS_MAX,
  MESSAGE_TIMEOUT_MAX_MS,
  MESSAGE_TIMEOUT_MIN_MS,
  OPERATIONS_MAX,
  PROVIDE_TIMEOUT_MS,
  PUT_TIMEOUT_MS,
  RECORD_NAMESPACE,
  STREAMS_PER_PEER_MAX,
  TABLE_WAIT_MS,
} from './constants.ts'
import {
  createDHTMetrics,
  type DHTMetrics,
  type Operation,
  type OperationResult,
} from './dht-metrics.ts'
import type { DHT } from './dht.ts'
import { providerCID, recordKey, type ProviderKey } from './keys.ts'
import { RecordDatastore } from './record-datastore.ts'
import { checkRecord, createValidator, selectRecord, type RecordRules } from './record-rules.ts'

const SERVICE = 'recordDHT'

export interface RecordDHTComponents {
  log: Logger
  mesh: Pick<Libp2pMesh, 'self' | 'peers' | 'addService' | 'service'>
  registry: Registry
}

export interface RecordDHTInit {
  /** Peer ids whose records count besides this node's own: the allow-list's `has`. */
  isAuthorAllowed: (peerId: string) => boolean
  /** What the policy of the cluster says to a record; default: every member may write. */
  mayStand?: (record: AddressRecord) => boolean
  /**
   * Told of every valid record that is to be stored in the table here, whether it wins or not.
   * The record service keeps what it did not know, and puts its own again where that is newer.
   */
  onRecord?: (record: AddressRecord) => void
}

interface OperationOptions {
  signal?: AbortSignal
}

/**
 * Records and providers in libp2p's Kademlia table. Entries live in memory: records 48 hours in
 * the table of every node near the key, announcements as long. So after a restart a node announces
 * itself again (see Provider), and the record service remains the authority.
 *
 * Construct it before the mesh starts and start it after. Where a peer that is gone hangs, a
 * lookup returns what was found when its time is up.
 */
export class RecordDHT implements DHT {
  readonly #log: Logger
  readonly #mesh: RecordDHTComponents['mesh']
  readonly #metrics: DHTMetrics
  readonly #rules: RecordRules
  #datastore: RecordDatastore | undefined
  #kad: SingleKadDHT | undefined
  #running = 0

  constructor(components: RecordDHTComponents, init: RecordDHTInit) {
    this.#log = components.log.child({ component: 'dht' })
    this.#mesh = components.mesh
    this.#metrics = createDHTMetrics(components.registry, { peers: () => this.routingTablePeers() })
    const selfId = this.#mesh.self.peerId
    this.#rules = {
      isAuthorAllowed: (id) => id === selfId || init.isAuthorAllowed(id),
      mayStand: init.mayStand ?? (() => true),
    }
    const validator = createValidator(this.#rules, (error) => {
      this.#metrics.refused.inc()
      this.#log.warn({ err: error }, 'record of a peer refused')
    })
    const create = kadDHT({
      protocol: KAD_PROTOCOL,
      clientMode: false,
      // The default drops private addresses, which are all a cluster has.
      peerInfoMapper: passthroughMapper,
      // A node alone has its own entries and should not wait for others to ask them.
      allowQueryWithZeroPeers: true,
      validators: { [RECORD_NAMESPACE]: validator },
      selectors: { [RECORD_NAMESPACE]: selectRecord },
      networkDialTimeout: {
        minTimeout: MESSAGE_TIMEOUT_MIN_MS,
        maxTimeout: MESSAGE_TIMEOUT_MAX_MS,
      },
      maxInboundStreams: STREAMS_PER_PEER_MAX,
      maxOutboundStreams: STREAMS_PER_PEER_MAX,
    })
    this.#mesh.addService(SERVICE, (libp2p) => {
      this.#datastore = new RecordDatastore({
        onRecord: (bytes) => init.onRecord?.(decodeRecord(bytes)),
      })
      // The same components except for the store, which is shared with nobody.
      const own = { datastore: { value: this.#datastore } }
      return create(Object.create(libp2p, own) as Parameters<typeof create>[0])
    })
  }

  async start(): Promise<void> {
    this.#kad ??= this.#mesh.service<SingleKadDHT>(SERVICE)
  }

  /** The table itself ends with the mesh. */
  async stop(): Promise<void> {
    this.#kad = undefined
  }

  routingTablePeers(): number {
    return this.#kad?.routingTable.size ?? 0
  }

  /**
   * @throws InvalidRecordError when the bytes are not a valid record of this name,
   *   PeerUnreachableError when there are peers and none of them took it in time
   */
  async putRecord(name: string, bytes: Uint8Array, options: OperationOptions = {}): Promise<void> {
    const key = recordKey(name)
    checkRecord(key, bytes, this.#rules)
    await this.#run('put', PUT_TIMEOUT_MS, options, async (kad, signal) => {
      await this.#untilTable(kad, signal)
      return this.#spread(kad.put(key, bytes, { signal }), 'PUT_VALUE', signal)
    })
  }

  async getRecord(name: string, options: OperationOptions = {}): Promise<Uint8Array | undefined> {
    const key = recordKey(name)
    let bestBytes = this.#datastore?.record(key)
    let best = bestBytes && decodeRecord(bestBytes)
    await this.#run('get', GET_TIMEOUT_MS, options, async (kad, signal) => {
      await this.#untilTable(kad, signal)
      const enough = new AbortController()
      let grace: NodeJS.Timeout | undefined
      try {
        const limit = AbortSignal.any([signal, enough.signal])
        for await (const bytes of recordsIn(bounded(kad.get(key, { signal: limit })))) {
          const record = decodeRecord(bytes)
          if (!best || compareRecords(record, best) < 0) [best, bestBytes] = [record, bytes]
          grace ??= setTimeout(() => enough.abort(), GET_GRACE_MS)
        }
      } catch (error) {
        // One peer too slow to be corrected or to answer at all does not undo what was found.
        if (!best || options.signal?.aborted) throw error
      } finally {
        clearTimeout(grace)
      }
      return best ? 'ok' : 'none'
    })
    return bestBytes
  }

  /** Resolves when the announcement is out, also when this node is alone. */
  async provide(key: ProviderKey, options: OperationOptions = {}): Promise<void> {
    const cid = providerCID(key)
    await this.#run('provide', PROVIDE_TIMEOUT_MS, options, async (kad, signal) => {
      await this.#untilTable(kad, signal)
      return this.#spread(kad.provide(cid, { signal }), 'ADD_PROVIDER', signal)
    })
  }

  withdraw(key: ProviderKey, peerId: string): void {
    this.#datastore?.removeProvider(providerCID(key), peerId)
  }

  providersHere(key: ProviderKey): string[] {
    const peerIds = this.#datastore?.providers(providerCID(key), Date.now()) ?? []
    return peerIds.filter((peerId) => peerId !== this.#mesh.self.peerId)
  }

  /**
   * Other nodes that announced the key, each once. The first comes early and the end late, so
   * whoever needs one stops there. Ends when the time is up or too many peers were asked.
   */
  async *findProviders(key: ProviderKey, options: OperationOptions = {}): AsyncIterable<string> {
    const kad = this.#begin('find_providers')
    const started = performance.now()
    const timeout = AbortSignal.timeout(FIND_PROVIDERS_TIMEOUT_MS)
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
    const seen = new Set([this.#mesh.self.peerId])
    let result: OperationResult = 'none'
    try {
      await this.#untilTable(kad, signal)
      for await (const event of bounded(kad.findProviders(providerCID(key), { signal }))) {
        if (event.name !== 'PROVIDER') continue
        for (const provider of event.providers) {
          const peerId = provider.id.toString()
          if (seen.has(peerId)) continue
          seen.add(peerId)
          result = 'ok'
          yield peerId
        }
      }
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!timeout.aborted) result = 'error'
      else if (result === 'none') result = 'timeout'
      if (result === 'error') throw error
    } finally {
      this.#end('find_providers', result, started)
    }
  }

  async #run(
    op: Operation,
    timeoutMs: number,
    options: OperationOptions,
    work: (kad: SingleKadDHT, signal: AbortSignal) => Promise<OperationResult>,
  ): Promise<void> {
    options.signal?.throwIfAborted()
    const kad = this.#begin(op)
    const started = performance.now()
    const timeout = AbortSignal.timeout(timeoutMs)
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
    let result: OperationResult = 'error'
    try {
      result = await work(kad, signal)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!timeout.aborted || op !== 'get') throw error
      result = 'timeout'
    } finally {
      this.#end(op, result, started)
    }
  }

  /** Runs a put or a provide to its end and looks whether anybody took it. */
  async #spread(
    events: AsyncIterable<QueryEvent>,
    message: 'PUT_VALUE' | 'ADD_PROVIDER',
    signal: AbortSignal,
  ): Promise<OperationResult> {
    let taken = 0
    let failure: unknown
    try {
      for await (const event of events) {
        if (event.name === 'PEER_RESPONSE' && event.messageName === message) taken += 1
        if (event.name === 'QUERY_ERROR') failure = event.error
      }
    } catch (error) {
      failure = error
    }
    if (taken > 0) return 'ok'
    if (failure === undefined) return 'none'
    const reason = signal.aborted ? 'in time' : 'at all'
    throw new PeerUnreachableError(`No peer took the entry ${reason}.`, { cause: failure })
  }

  /** Right after the first peer joined the table is still empty for a moment. */
  async #untilTable(kad: SingleKadDHT, signal: AbortSignal): Promise<void> {
    if (kad.routingTable.size > 0 || this.#mesh.peers().length === 0) return
    const table = kad.routingTable as unknown as EventTarget
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TABLE_WAIT_MS)])
    await new Promise<void>((resolve) => {
      const done = (): void => {
        table.removeEventListener('peer:add', done)
        resolve()
      }
      table.addEventListener('peer:add', done)
      limit.addEventListener('abort', done, { once: true })
    })
  }

  #begin(op: Operation): SingleKadDHT {
    if (!this.#kad) throw new PeerUnreachableError('The table is not started.')
    if (this.#running >= OPERATIONS_MAX) {
      this.#metrics.lookups.inc({ op, result: 'error' })
      throw new OverloadedError('Too many operations on the table are running.', 1)
    }
    this.#running += 1
    return this.#kad
  }

  #end(op: Operation, result: OperationResult, startedMs: number): void {
    this.#running -= 1
    this.#metrics.lookups.inc({ op, result })
    this.#metrics.duration.observe({ op }, (performance.now() - startedMs) / 1000)
  }
}

/** A query up to the number of peers that one may ask. */
async function* bounded(events: AsyncIterable<QueryEvent>): AsyncIterable<QueryEvent> {
  let asked = 0
  for await (const event of events) {
    if (event.name === 'SEND_QUERY') asked += 1
    if (asked > LOOKUP_PEERS_MAX) return
    yield event
  }
}

/**
 * The records in a query as they come. kad-dht itself yields a value only when every peer was
 * asked and corrected.
 */
async function* recordsIn(events: AsyncIterable<QueryEvent>): AsyncIterable<Uint8Array> {
  for await (const event of events) {
    if (event.name === 'VALUE') yield event.value
    if (event.name === 'PEER_RESPONSE' && event.record) yield event.record.value
  }
}
