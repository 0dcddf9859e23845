import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'

import { parseAddress } from '../../shared/address/address.ts'
import type { AddressPattern } from '../../shared/address/pattern.ts'
import type { AddressRecord } from '../../shared/record/record.ts'

/** What is searched for. Names come in their order, after `after`. */
export interface NameQuery {
  pattern: AddressPattern
  /** Project patterns of the token: `*`, `apollo`, `apollo-*`. A name matches one of them. */
  projects: readonly string[]
  /** Only addresses with more than one end. */
  forked: boolean
  after: string
  limit: number
}

export interface FoundName {
  name: string
  version: number
}

/** Written into a database whose names are complete, so that they are not filled in again. */
const NAMES_VERSION = 1

/** Behind every character that a label can hold: the end of a prefix. */
const AFTER_LABELS = '~'

/**
 * The addresses of the record store with their parts, for searches, and how many ends each has.
 * It is filled from the records, in the same transaction, and can be made anew from them.
 */
export class RecordNames {
  readonly #db: DatabaseSync
  readonly #upsert: StatementSync
  readonly #count: StatementSync
  readonly #ends: StatementSync
  readonly #heads: StatementSync

  constructor(db: DatabaseSync) {
    this.#db = db
    db.exec(`
      CREATE TABLE IF NOT EXISTS names (
        name TEXT PRIMARY KEY, agent TEXT NOT NULL, role TEXT, project TEXT NOT NULL, task TEXT,
        path TEXT NOT NULL, version INTEGER NOT NULL, ends INTEGER NOT NULL);
      CREATE INDEX IF NOT EXISTS names_project ON names (project, name);
      CREATE INDEX IF NOT EXISTS names_agent ON names (agent, name);
      CREATE INDEX IF NOT EXISTS names_forked ON names (name) WHERE ends > 1;
    `)
    const prepare = (sql: string): StatementSync => db.prepare(sql)
    this.#upsert = prepare(
      `INSERT INTO names VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
       version = max(version, excluded.version), ends = ends + excluded.ends`,
    )
    this.#count = prepare('SELECT count(*) AS count FROM names')
    this.#ends = prepare('SELECT ends FROM names WHERE name = ?')
    this.#heads = prepare('SELECT name, version FROM names WHERE name > ? ORDER BY name LIMIT ?')
    this.#fill()
  }

  /** Within the transaction that adds the record; `endsMore` may be negative. */
  add({ address, version }: Pick<AddressRecord, 'address' | 'version'>, endsMore: number): void {
    const parts = parseAddress(address)
    if (parts.kind !== 'semantic') throw new Error('A record names a semantic address.')
    const { agent, role = null, project, task = null, path } = parts
    this.#upsert.run(address, agent, role, project, task, path, version, endsMore)
  }

  count(): number {
    return (this.#count.get() as { count: number }).count
  }

  /** Ends of the chains of an address; 0 for one that is not here. */
  ends(name: string): number {
    const row = this.#ends.get(name) as { ends: number } | undefined
    return row?.ends ?? 0
  }

  heads(after: string, limit: number): FoundName[] {
    return this.#heads.all(after, limit) as unknown as FoundName[]
  }

  search({ pattern, projects, forked, after, limit }: NameQuery): FoundName[] {
    const conditions = ['name > ?']
    const values: SQLInputValue[] = [after]
    const where = (condition: string, ...bound: SQLInputValue[]): void => {
      conditions.push(condition)
      values.push(...bound)
    }
    const { agent, role, project, task, path, below } = pattern
    if (agent !== '*') where('agent = ?', agent)
    if (project !== '*') where('project = ?', project)
    if (role !== '*') where('role IS ?', role ?? null)
    if (task !== '*') where('task IS ?', task ?? null)
    if (!below) where('path = ?', path)
    // Everything from `path/` up to what follows the slash in the order of characters.
    else if (path !== '') where('path > ? AND path < ?', `${path}/`, `${path}0`)
    if (forked) where('ends > 1')
    if (!projects.includes('*')) {
      const each = projects.map((text) => this.#project(text))
      where(
        `(${each.map(({ sql }) => sql).join(' OR ') || 'FALSE'})`,
        ...each.flatMap(({ values: bound }) => bound),
      )
    }
    const sql = `SELECT name, version FROM names WHERE ${conditions.join(' AND ')}
      ORDER BY name LIMIT ?`
    return this.#db.prepare(sql).all(...values, limit) as unknown as FoundName[]
  }

  #project(text: string): { sql: string; values: string[] } {
    if (!text.endsWith('*')) return { sql: 'project = ?', values: [text] }
    const prefix = text.slice(0, -1)
    return { sql: 'project BETWEEN ? AND ?', values: [prefix, prefix + AFTER_LABELS] }
  }

  /** Of a database from before there were names. */
  #fill(): void {
    const { user_version: version } = this.#db.prepare('PRAGMA user_version').get() as {
      user_version: number
    }
    if (version >= NAMES_VERSION) return
    const rows = this.#db.prepare(
      `SELECT name AS address, max(version) AS version, sum(NOT EXISTS (SELECT 1 FROM records AS
       next WHERE next.previous = records.hash AND next.name = records.name)) AS ends
       FROM records GROUP BY name`,
    )
    this.#db.exec('BEGIN IMMEDIATE; DELETE FROM names')
    for (const row of rows.iterate() as Iterable<Row>) this.add(row, row.ends)
    this.#db.exec(`PRAGMA user_version = ${NAMES_VERSION}; COMMIT`)
  }
}

interface Row {
  address: string
  version: number
  ends: number
}
