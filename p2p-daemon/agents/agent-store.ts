import { DatabaseSync, type StatementSync } from 'node:sqlite'

import { agentId, type Agent } from './agent.ts'

/** An agent registered through this node, as it is kept over a restart. */
export interface KeptAgent {
  agent: Agent
  registeredAtMs: number
  leaseMs: number
  /** When it was last heard of, in Unix milliseconds. */
  renewedAtMs: number
}

/**
 * The agents registered through this node, in `dht/agents.db`. What was acknowledged survives the
 * end of the process; the last seconds may be lost with the power (synchronous = NORMAL), and come
 * back with the next heartbeat, which is answered 404 and followed by a registration.
 */
export class AgentStore {
  readonly #db: DatabaseSync
  readonly #put: StatementSync
  readonly #delete: StatementSync
  readonly #all: StatementSync

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS agents (
        id TEXT PRIMARY KEY, agent TEXT NOT NULL, registered_ms INTEGER NOT NULL,
        lease_ms INTEGER NOT NULL, renewed_ms INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    `)
    this.#put = this.#db.prepare('INSERT OR REPLACE INTO agents VALUES (?, ?, ?, ?, ?)')
    this.#delete = this.#db.prepare('DELETE FROM agents WHERE id = ?')
    this.#all = this.#db.prepare('SELECT * FROM agents')
  }

  /** Higher than at any start before: by the file, and by the clock where the file was lost. */
  nextEpoch(nowMs: number): number {
    const row = this.#db.prepare("SELECT value FROM meta WHERE name = 'epoch'").get()
    const epoch = Math.max(Math.floor(nowMs), Number(row?.['value'] ?? 0) + 1)
    this.#db.prepare("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)").run(epoch)
    return epoch
  }

  put({ agent, registeredAtMs, leaseMs, renewedAtMs }: KeptAgent): void {
    const text = JSON.stringify(agent)
    this.#put.run(agentId(agent), text, registeredAtMs, leaseMs, renewedAtMs)
  }

  delete(id: string): void {
    this.#delete.run(id)
  }

  all(): KeptAgent[] {
    return this.#all.all().map((row) => ({
      agent: JSON.parse(row['agent'] as string) as Agent,
      registeredAtMs: row['registered_ms'] as number,
      leaseMs: row['lease_ms'] as number,
      renewedAtMs: row['renewed_ms'] as number,
    }))
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
