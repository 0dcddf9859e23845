import { sql } from 'kysely'

import type { BzzzDatabase } from '../db/database.ts'
import { reached } from '../db/database-answer.ts'
import { addressOf } from './conversation.ts'
import type { OldName } from './old-name.ts'

/** What an old name stands for now. */
export interface Alias {
  /** The thread; of an entry with its hash as the fragment. */
  address: string
  project: string
  /** Hash of the entry's blob; null for a thread. */
  blob: string | null
}

/** Things of one old name that are told. Topics are shared by repositories, entries by forks. */
const ALIASES_MAX = 100

/** Old names, as imports have filled them in. */
export class Aliases {
  readonly #db: BzzzDatabase

  constructor({ db }: { db: BzzzDatabase }) {
    this.#db = db
  }

  /** @throws DatabaseUnavailableError */
  find(name: OldName): Promise<Alias[]> {
    return reached(async () => {
      if (name.kind === 'topic') return this.#ofTopic(name.topic)
      const entries = this.#db
        .selectFrom('v1_entries')
        .innerJoin('v1_threads', 'v1_threads.key', 'v1_entries.thread')
        .select(['v1_entries.hash', 'v1_entries.blob', 'project', 'task', 'path', 'generation'])
        .orderBy('v1_entries.author')
        .orderBy('v1_entries.hash')
        .limit(ALIASES_MAX)
      const rows =
        name.kind === 'hash'
          ? await entries.where('v1_entries.hash', '=', name.hash).execute()
          : await entries
              .where('v1_entries.author', 'in', await this.#authors(name))
              .where('v1_entries.position', '=', String(name.position))
              .execute()
      return rows.map((row) => ({
        address: `${addressOf(row, row.generation)}#${row.hash}`,
        project: row.project,
        blob: row.blob,
      }))
    })
  }

  async #ofTopic(topic: string): Promise<Alias[]> {
    const rows = await this.#db
      .selectFrom('v1_threads')
      .selectAll()
      .where('topic', '=', topic)
      .where('is_created', '=', true)
      .orderBy('key')
      .limit(ALIASES_MAX)
      .execute()
    return rows.map((row) => ({
      address: addressOf(row, row.generation),
      project: row.project,
      blob: null,
    }))
  }

  /** Chunks name all authors, in a thousandth of the rows. */
  async #authors(name: OldName): Promise<string[]> {
    if (name.kind === 'entry') return [name.author]
    if (name.kind !== 'short-entry') return []
    const rows = await this.#db
      .selectFrom('v1_chunks')
      .select('author')
      .distinct()
      .where(sql<boolean>`right(author, ${name.suffix.length}) = ${name.suffix}`)
      .limit(ALIASES_MAX)
      .execute()
    // Nobody has the empty name: a list of none is no SQL.
    return ['', ...rows.map(({ author }) => author)]
  }
}
