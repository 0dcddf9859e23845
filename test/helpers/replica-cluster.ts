import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { composeReplication, type ReplicationInit } from '../../p2p-daemon/replication/compose.ts'
import { CorruptReports } from '../../p2p-daemon/replication/corrupt-reports.ts'
import type { DeleteOptions } from '../../p2p-daemon/store/blob-store.ts'
import { MemoryStore } from '../../p2p-daemon/store/memory-store.ts'
import type { BlobTransfer, RemoteBlob } from '../../p2p-daemon/transfer/blob-transfer.ts'
import { PeerUnreachableError } from '../../shared/errors.ts'
import { startAll, stopAll } from '../../shared/lifecycle.ts'
import { MiB } from '../../shared/limits.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { until } from './mesh.ts'
import { MemoryNetwork, type MemoryMesh } from './memory-mesh.ts'

export type Replication = ReturnType<typeof composeReplication>

/** Everything that waits for hours in a cluster waits for moments here. */
const QUICK = {
  awayGraceMs: 60_000,
  repairBytesPerSecond: 1024 * MiB,
  membersTickMs: 20,
  hedgeDelayMs: 20,
  promiseMs: 100,
  dropRetryMs: 20,
  ackTimeoutMs: 1_000,
  handoffAfterMs: 100,
  surplusKeepMs: 20,
  stragglerDelayMs: 50,
  // Longer than in a cluster: what a test sees must not hang on how busy the machine is.
  stragglerWaitMs: 2_000,
  backoffMinMs: 20,
  pauseMs: 0,
  retryMs: 20,
  flushMs: 10,
} satisfies Omit<ReplicationInit, 'ledgerFile'>

/** A disk that tells what is deleted from it. */
class WatchedStore extends MemoryStore {
  onDelete: (hash: string) => Promise<void> = () => Promise.resolve()

  override async delete(hash: string, options: DeleteOptions = {}): Promise<boolean> {
    await this.onDelete(hash)
    return super.delete(hash, options)
  }
}

export interface ReplicaNode {
  peerId: string
  /** The disk: stays when the process dies. */
  store: WatchedStore
  ledgerFile: string
  corrupt: CorruptReports
  weight: number
  zone: string
  draining: boolean
  /** Undefined while the process is dead. */
  process: { mesh: MemoryMesh; replication: Replication; registry: Registry } | undefined
}

/** Nodes that replicate for real over a network and disks in memory. */
export class ReplicaCluster {
  readonly network = new MemoryNetwork()
  readonly nodes = new Map<string, ReplicaNode>()
  /** Told of every fetch; may delay or fail it. */
  onFetch: (from: string, to: string, hash: string) => Promise<void> = () => Promise.resolve()
  /** Told of every chunk of a fetch before it is handed on. */
  onChunk: (from: string) => void = () => undefined
  /** Told before a node deletes a copy. */
  onDelete: (peerId: string, hash: string) => Promise<void> = () => Promise.resolve()
  canDrop = true
  /** What the last collection of every node found unreferenced. */
  readonly garbage = new Set<string>()
  readonly #dir = mkdtempSync(join(tmpdir(), 'bzzz-replicas-'))
  readonly #init: Partial<ReplicationInit>

  constructor(init: Partial<ReplicationInit> = {}) {
    this.#init = init
  }

  async add(peerId: string, place: { weight?: number; zone?: string } = {}): Promise<ReplicaNode> {
    const corrupt = new CorruptReports()
    mkdirSync(join(this.#dir, peerId))
    const node: ReplicaNode = {
      peerId,
      store: this.#disk(peerId, corrupt),
      ledgerFile: join(this.#dir, peerId, 'replication.db'),
      corrupt,
      weight: place.weight ?? 1,
      zone: place.zone ?? 'default',
      draining: false,
      process: undefined,
    }
    this.nodes.set(peerId, node)
    await this.start(peerId)
    return node
  }

  async addAll(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) await this.add(`n${index}`)
  }

  async start(peerId: string): Promise<void> {
    const node = this.node(peerId)
    const { store, ledgerFile, corrupt, weight, zone } = node
    const registry = new Registry()
    const mesh = this.network.join(peerId, { weight: node.draining ? 0 : weight, zone })
    const replication = composeReplication(
      {
        mesh,
        store,
        transfer: { fetch: (...args) => this.#fetch(mesh, ...args) },
        log: createSilentLogger(),
        registry,
        corrupt,
        canDrop: () => this.canDrop,
        isGarbage: (hash) => this.garbage.has(hash),
        isDraining: () => node.draining,
      },
      { ...QUICK, ...this.#init, ledgerFile },
    )
    node.process = { mesh, replication, registry }
    if (replication.forgetful) this.#askForRescans(mesh)
    await startAll(replication.parts)
  }

  /** Ends the process the way kill -9 does: what was not committed is lost. */
  async kill(peerId: string): Promise<void> {
    const node = this.node(peerId)
    const running = node.process
    if (!running) return
    node.process = undefined
    this.network.isolate(peerId)
    const saved = join(this.#dir, `${peerId}.killed`)
    cpSync(join(node.ledgerFile, '..'), saved, { recursive: true })
    await stopAll(running.replication.parts)
    running.replication.close()
    rmSync(join(node.ledgerFile, '..'), { recursive: true })
    cpSync(saved, join(node.ledgerFile, '..'), { recursive: true })
    rmSync(saved, { recursive: true })
  }

  /** Ends the process in order. */
  async stop(peerId: string): Promise<void> {
    const running = this.node(peerId).process
    if (!running) return
    this.node(peerId).process = undefined
    this.network.isolate(peerId)
    await stopAll(running.replication.parts)
    running.replication.close()
  }

  /** The disk under the ledger of a node takes nothing until the function returned is called. */
  lockLedger(peerId: string): () => void {
    const other = new DatabaseSync(this.node(peerId).ledgerFile)
    other.exec('BEGIN IMMEDIATE')
    return () => {
      other.exec('ROLLBACK')
      other.close()
    }
  }

  /** A dead node gets a new, empty disk. */
  wipe(peerId: string): void {
    const node = this.node(peerId)
    if (node.process) throw new Error('Only a dead node is wiped.')
    node.store = this.#disk(peerId, node.corrupt)
    rmSync(join(node.ledgerFile, '..'), { recursive: true })
    mkdirSync(join(node.ledgerFile, '..'))
  }

  node(peerId: string): ReplicaNode {
    const node = this.nodes.get(peerId)
    if (!node) throw new Error(`There is no node ${peerId}.`)
    return node
  }

  running(peerId: string): Replication {
    const { process } = this.node(peerId)
    if (!process) throw new Error(`${peerId} is dead.`)
    return process.replication
  }

  live(): ReplicaNode[] {
    return [...this.nodes.values()].filter(({ process }) => process !== undefined)
  }

  /** Nodes whose disk has the blob, dead ones among them. */
  async copies(hash: string): Promise<string[]> {
    const found: string[] = []
    for (const { peerId, store } of this.nodes.values()) {
      if (await store.stat(hash)) found.push(peerId)
    }
    return found.toSorted()
  }

  /** Where `peerId` believes that the blob belongs. */
  holders(peerId: string, hash: string): string[] {
    return this.running(peerId).members.holders(hash).toSorted()
  }

  async read(peerId: string, hash: string): Promise<Buffer> {
    const read = await this.running(peerId).blobs.get(hash)
    const chunks: Uint8Array[] = []
    for await (const chunk of read.body) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  /** Flips a bit of the copy on a node's disk, as time does. */
  async corrupt(peerId: string, hash: string): Promise<void> {
    const { body } = await this.node(peerId).store.get(hash)
    // The store in memory hands out its own bytes.
    for await (const chunk of body) {
      if (chunk.length > 0) chunk[0]! ^= 1
      return
    }
  }

  async untilCopies(hash: string, expected: () => readonly string[]): Promise<void> {
    let copies: string[] = []
    try {
      await until(async () => {
        copies = await this.copies(hash)
        return copies.join() === [...expected()].toSorted().join()
      }, 'copies')
    } catch (error) {
      const wanted = expected().join()
      throw new Error(`Copies are on ${copies.join()}, not on ${wanted}.`, { cause: error })
    }
  }

  async dispose(): Promise<void> {
    for (const { peerId } of this.live()) await this.stop(peerId)
    rmSync(this.#dir, { recursive: true })
  }

  #disk(peerId: string, corrupt: CorruptReports): WatchedStore {
    const store = new WatchedStore({ onCorrupt: (hash) => corrupt.report(hash) })
    store.onDelete = (hash) => this.onDelete(peerId, hash)
    return store
  }

  /** What a node that knows nothing of its past asks of everybody it meets; see Nodes. */
  #askForRescans(mesh: MemoryMesh): void {
    const ask = (peerId: string): void => {
      const isAlive = this.node(mesh.self.peerId).process?.mesh === mesh
      if (isAlive) this.node(peerId).process?.replication.rebalancer.request()
    }
    mesh.on('join', ({ peerId }) => setImmediate(() => ask(peerId)))
    for (const { peerId } of mesh.peers()) ask(peerId)
  }

  /** Both ends must stay alive and connected until the last byte. */
  async #fetch(
    mesh: MemoryMesh,
    ...[peerId, hash, options = {}]: Parameters<BlobTransfer['fetch']>
  ): Promise<RemoteBlob> {
    const assertReachable = (): void => {
      options.signal?.throwIfAborted()
      const alive = this.node(mesh.self.peerId).process?.mesh === mesh
      if (!alive || !this.network.reachable(mesh.self.peerId, peerId)) {
        throw new PeerUnreachableError('cut')
      }
    }
    await this.onFetch(peerId, mesh.self.peerId, hash)
    assertReachable()
    const { store } = this.node(peerId)
    const { start = 0 } = options
    const read = await store.get(hash, start > 0 ? { start } : {})
    const onChunk = (): void => this.onChunk(peerId)
    const body = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of read.body) {
        onChunk()
        assertReachable()
        yield chunk
      }
    }
    return { hash, sizeBytes: read.sizeBytes, body: body() }
  }
}
