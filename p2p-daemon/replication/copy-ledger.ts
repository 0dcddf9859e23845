import { StorageUnavailableError } from '../../shared/errors.ts'
import type { NodeInfo } from '../mesh/mesh.ts'
import { LEDGER_BATCH_BLOBS, LEDGER_FLUSH_MS, LEDGER_PENDING_MAX } from './constants.ts'
import type { LedgerDatabase } from './ledger-database.ts'

/** What placement must know of a node that is not here. */
export type KnownNode = Pick<NodeInfo, 'peerId' | 'name' | 'weight' | 'zone' | 'storage'>

/** Half a hash tells blobs apart, and keeps the table small: it is written for every put. */
const KEY_BYTES = 16

/** A node's number in a row's list of holders. */
const ID_BYTES = 2

/** What is new about one blob; true: the node holds it. */
type Facts = Map<number, boolean>

/**
 * Who else holds the blobs of this node, as far as it was told: by an acknowledgement, by an answer
 * to a question, by its own repairs. Hints, not promises: before a copy is dropped the others are
 * asked again. They are kept in memory for some seconds and written in the order of their keys, so
 * that a put costs a few microseconds; a crash loses them, and the next scan finds them again.
 */
export class CopyLedger {
  readonly #db: LedgerDatabase
  readonly #ids = new Map<string, number>()
  readonly #peerIds = new Map<number, string>()
  #pending = new Map<string, Facts>()
  /** What a flush under way has yet to write, in order. */
  #writing = new Map<string, Facts>()
  #timer: NodeJS.Timeout | NodeJS.Immediate | undefined

  constructor(db: LedgerDatabase) {
    this.#db = db
    for (const row of db.all('SELECT id, peer_id FROM nodes')) {
      this.#learn(String(row['peer_id']), Number(row['id']))
    }
  }

  held(hash: string, peerId: string): void {
    this.#note(hash, peerId, true)
  }

  lacks(hash: string, peerId: string): void {
    this.#note(hash, peerId, false)
  }

  holders(hash: string): string[] {
    const key = keyOf(hash)
    const ids = this.#stored(key)
    for (const facts of [this.#writing.get(key), this.#pending.get(key)]) {
      if (facts) apply(ids, facts)
    }
    return [...ids].flatMap((id) => this.#peerIds.get(id) ?? [])
  }

  /** Forgets the blobs after `after` up to `upTo` that are not in `present`: they are not here. */
  prune(after: string, upTo: string, present: Iterable<string>): void {
    this.flush()
    const keys = new Set([...present].map(keyOf))
    const sql = 'SELECT key FROM copies WHERE key > ? AND key <= ?'
    const rows = this.#db.all(sql, bytesOf(keyOf(after)), bytesOf(keyOf(upTo)))
    const gone = rows.map((row) => row['key'] as Uint8Array).filter((key) => !keys.has(hex(key)))
    if (gone.length === 0) return
    this.#db.transaction(() => {
      for (const key of gone) this.#db.run('DELETE FROM copies WHERE key = ?', key)
    })
  }

  remember(node: KnownNode): void {
    const { peerId, name, weight, zone, storage } = node
    const info = JSON.stringify({ peerId, name, weight, zone, storage })
    const id = this.#idOf(peerId)
    if (id === undefined) return
    const sql = 'UPDATE nodes SET info = ? WHERE id = ?'
    this.#try(() => this.#db.transaction(() => this.#db.run(sql, info, id)))
  }

  remembered(): KnownNode[] {
    return this.#db
      .all('SELECT info FROM nodes WHERE info IS NOT NULL')
      .map((row) => JSON.parse(String(row['info'])) as KnownNode)
  }

  /** Writes everything now. @throws StorageUnavailableError */
  flush(): void {
    while (this.#writing.size > 0) this.#writeSome()
    this.#collect()
    while (this.#writing.size > 0) this.#writeSome()
  }

  #note(hash: string, peerId: string, isHeld: boolean): void {
    // More than this is not worth its memory: they are hints.
    if (!this.#db.isOpen || this.#pending.size >= 2 * LEDGER_PENDING_MAX) return
    const id = this.#idOf(peerId)
    if (id === undefined) return
    const key = keyOf(hash)
    let facts = this.#pending.get(key)
    if (!facts) this.#pending.set(key, (facts = new Map()))
    facts.set(id, isHeld)
    if (this.#pending.size === LEDGER_PENDING_MAX) this.#flushInTurns()
    else this.#timer ??= setTimeout(() => this.#flushInTurns(), LEDGER_FLUSH_MS).unref()
  }

  #flushInTurns(): void {
    if (!this.#db.isOpen) return
    if (this.#writing.size === 0) this.#collect()
    if (!this.#try(() => this.#writeSome())) this.#writing.clear()
    const isMore = this.#writing.size > 0
    this.#timer = isMore ? setImmediate(() => this.#flushInTurns()) : undefined
  }

  #collect(): void {
    clearTimeout(this.#timer as NodeJS.Timeout | undefined)
    this.#timer = undefined
    // Neighbours share pages, so in order each page is written once.
    const order = (a: [string, Facts], b: [string, Facts]): number => (a[0] < b[0] ? -1 : 1)
    this.#writing = new Map([...this.#pending].sort(order))
    this.#pending = new Map()
  }

  #writeSome(): void {
    const some: [string, Facts][] = []
    for (const entry of this.#writing) {
      if (some.push(entry) === LEDGER_BATCH_BLOBS) break
    }
    if (some.length === 0) return
    this.#db.transaction(() => {
      for (const [key, facts] of some) this.#write(key, facts)
    })
    for (const [key] of some) this.#writing.delete(key)
  }

  #write(key: string, facts: Facts): void {
    const ids = this.#stored(key)
    const before = ids.size
    const isChanged = apply(ids, facts)
    if (!isChanged) return
    const list = Buffer.alloc(ids.size * ID_BYTES)
    ;[...ids].forEach((id, index) => list.writeUInt16BE(id, index * ID_BYTES))
    if (ids.size > 0)
      this.#db.run('INSERT OR REPLACE INTO copies VALUES (?, ?)', bytesOf(key), list)
    else if (before > 0) this.#db.run('DELETE FROM copies WHERE key = ?', bytesOf(key))
  }

  #stored(key: string): Set<number> {
    const row = this.#db.get('SELECT holders FROM copies WHERE key = ?', bytesOf(key))
    const list = Buffer.from((row?.['holders'] as Uint8Array | undefined) ?? [])
    const ids = new Set<number>()
    for (let at = 0; at < list.length; at += ID_BYTES) ids.add(list.readUInt16BE(at))
    return ids
  }

  /** Undefined while the disk takes no new one. */
  #idOf(peerId: string): number | undefined {
    const known = this.#ids.get(peerId)
    if (known !== undefined) return known
    const insert = (): unknown => this.#db.run('INSERT INTO nodes (peer_id) VALUES (?)', peerId)
    if (!this.#try(() => this.#db.transaction(insert))) return undefined
    const id = Number(this.#db.get('SELECT id FROM nodes WHERE peer_id = ?', peerId)?.['id'])
    this.#learn(peerId, id)
    return id
  }

  /** False when the disk refuses, or after the end: nothing was promised on these facts. */
  #try(write: () => void): boolean {
    if (!this.#db.isOpen) return false
    try {
      write()
      return true
    } catch (error) {
      if (error instanceof StorageUnavailableError) return false
      throw error
    }
  }

  #learn(peerId: string, id: number): void {
    this.#ids.set(peerId, id)
    this.#peerIds.set(id, peerId)
  }
}

/** True when it changed anything. */
function apply(ids: Set<number>, facts: Facts): boolean {
  let isChanged = false
  for (const [id, isHeld] of facts) {
    if (ids.has(id) === isHeld) continue
    isChanged = true
    if (isHeld) ids.add(id)
    else ids.delete(id)
  }
  return isChanged
}

function keyOf(hash: string): string {
  return hash.slice(0, 2 * KEY_BYTES)
}

function bytesOf(key: string): Buffer {
  return Buffer.from(key, 'hex')
}

function hex(key: Uint8Array): string {
  return Buffer.from(key).toString('hex')
}
