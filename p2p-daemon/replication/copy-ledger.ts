import type { NodeInfo } from '../mesh/mesh.ts'
import type { BlobStat } from '../store/blob-store.ts'
import { LEDGER_FLUSH_MS, LEDGER_PENDING_MAX } from './constants.ts'
import { fromKey, toKey, type LedgerDatabase } from './ledger-database.ts'

/** What placement must know of a node that is not here. */
export type KnownNode = Pick<NodeInfo, 'peerId' | 'name' | 'weight' | 'zone' | 'storage'>

/**
 * Who else holds the blobs of this node, as far as it was told: by an acknowledgement, by an answer
 * to a question, by its own repairs. A hint, not a promise: before a copy is dropped the others
 * are asked again. Facts are written in batches behind the put.
 */
export class CopyLedger {
  readonly #db: LedgerDatabase
  readonly #nodes = new Map<string, number>()
  #pending: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(db: LedgerDatabase) {
    this.#db = db
    this.#readNodes()
  }

  /** `peerId` holds the blob. */
  held(blob: BlobStat, peerId: string): void {
    this.#later(() => {
      const sql = 'INSERT OR IGNORE INTO copies VALUES (?, ?, ?)'
      this.#db.run(sql, toKey(blob.hash), this.#nodeId(peerId), blob.sizeBytes)
    })
  }

  lacks(hash: string, peerId: string): void {
    this.#later(() => {
      const sql = 'DELETE FROM copies WHERE hash = ? AND node = ?'
      this.#db.run(sql, toKey(hash), this.#nodeId(peerId))
    })
  }

  /** This node has no copy any more, so it need not know who has. */
  forget(hash: string): void {
    this.#later(() => this.#db.run('DELETE FROM copies WHERE hash = ?', toKey(hash)))
  }

  /** Forgets rows after `after` up to `upTo` of blobs that are not in `present`. */
  prune(after: string, upTo: string, present: ReadonlySet<string>): void {
    this.flush()
    const sql = 'SELECT DISTINCT hash FROM copies WHERE hash > ? AND hash <= ?'
    for (const row of this.#db.all(sql, toKey(after), toKey(upTo))) {
      const hash = fromKey(row['hash'])
      if (!present.has(hash)) this.forget(hash)
    }
  }

  holders(hash: string): string[] {
    this.flush()
    const sql = 'SELECT peer_id FROM copies JOIN nodes ON id = node WHERE hash = ? ORDER BY id'
    return this.#db.all(sql, toKey(hash)).map((row) => String(row['peer_id']))
  }

  /** Copies of this node's blobs that `peerId` is known to hold. */
  heldBy(peerId: string): { blobs: number; bytes: number } {
    this.flush()
    const row = this.#db.get('SELECT blobs, bytes FROM nodes WHERE peer_id = ?', peerId)
    return { blobs: Number(row?.['blobs'] ?? 0), bytes: Number(row?.['bytes'] ?? 0) }
  }

  remember(node: KnownNode): void {
    const { peerId, name, weight, zone, storage } = node
    const info = JSON.stringify({ peerId, name, weight, zone, storage })
    this.#later(() => {
      this.#db.run('UPDATE nodes SET info = ? WHERE id = ?', info, this.#nodeId(peerId))
    })
  }

  remembered(): KnownNode[] {
    this.flush()
    return this.#db
      .all('SELECT info FROM nodes WHERE info IS NOT NULL')
      .map((row) => JSON.parse(String(row['info'])) as KnownNode)
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#pending.length === 0) return
    const work = this.#pending
    this.#pending = []
    try {
      this.#db.transaction(() => work.forEach((write) => write()))
    } catch (error) {
      this.#readNodes()
      throw error
    }
  }

  #later(write: () => void): void {
    if (!this.#db.isOpen) return
    this.#pending.push(write)
    this.#timer ??= setTimeout(() => this.#tryFlush(), LEDGER_FLUSH_MS).unref()
    if (this.#pending.length >= LEDGER_PENDING_MAX) this.#tryFlush()
  }

  /** A full disk costs facts that a scan finds again; the put they belong to stands. */
  #tryFlush(): void {
    try {
      if (this.#db.isOpen) this.flush()
    } catch {
      // Nothing was promised on these facts.
    }
  }

  #readNodes(): void {
    this.#nodes.clear()
    for (const row of this.#db.all('SELECT id, peer_id FROM nodes')) {
      this.#nodes.set(String(row['peer_id']), Number(row['id']))
    }
  }

  #nodeId(peerId: string): number {
    let id = this.#nodes.get(peerId)
    if (id === undefined) {
      this.#db.run('INSERT INTO nodes (peer_id) VALUES (?)', peerId)
      id = Number(this.#db.get('SELECT id FROM nodes WHERE peer_id = ?', peerId)?.['id'])
      this.#nodes.set(peerId, id)
    }
    return id
  }
}
