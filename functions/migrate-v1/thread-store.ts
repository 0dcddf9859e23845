import { sql } from 'kysely'

import type { BzzzDatabase } from '../../shared/db/database.ts'
import { ImportNotFoundError } from '../../shared/errors.ts'
import { addressOf, type Conversation } from '../../shared/v1/conversation.ts'

export interface ThreadRow extends Conversation {
  generation: number
  isCreated: boolean
  address: string
}

/** Conversations that imports turn into threads. */
export class ThreadStore {
  readonly #db: BzzzDatabase

  constructor({ db }: { db: BzzzDatabase }) {
    this.#db = db
  }

  /** @throws ImportNotFoundError */
  async get(key: string): Promise<ThreadRow> {
    const [row] = await this.#rows((query) => query.where('key', '=', key))
    if (!row) throw new ImportNotFoundError('There is no such conversation.')
    return row
  }

  /** Threads that carry a topic of v1, which did not tell repositories apart. */
  ofTopic(topic: string): Promise<ThreadRow[]> {
    return this.#rows((query) => query.where('topic', '=', topic).where('is_created', '=', true))
  }

  ofImport(id: string, after: string, limit: number): Promise<ThreadRow[]> {
    return this.#rows((query) =>
      query
        .where('key', '>', after)
        .where((where) =>
          where.exists(
            where
              .selectFrom('v1_import_threads')
              .select(sql`1`.as('one'))
              .whereRef('thread', '=', 'v1_threads.key')
              .where('import', '=', id),
          ),
        )
        .limit(limit),
    )
  }

  async pending(id: string, limit: number): Promise<string[]> {
    const rows = await this.#db
      .selectFrom('v1_import_threads')
      .select('thread')
      .where('import', '=', id)
      .where('done_at', 'is', null)
      .orderBy('thread')
      .limit(limit)
      .execute()
    return rows.map(({ thread }) => thread)
  }

  async isDone(id: string, key: string): Promise<boolean> {
    const row = await this.#db
      .selectFrom('v1_import_threads')
      .select('done_at')
      .where('import', '=', id)
      .where('thread', '=', key)
      .executeTakeFirst()
    return row === undefined || row.done_at !== null
  }

  async setDone(id: string, key: string): Promise<void> {
    await sql`
      with created as (
        update v1_threads set is_created = true where key = ${key} and not is_created
      )
      update v1_import_threads set done_at = now() where import = ${id} and thread = ${key}
    `.execute(this.#db)
  }

  async #rows(
    narrow: (query: ReturnType<typeof selectAll>) => ReturnType<typeof selectAll>,
  ): Promise<ThreadRow[]> {
    const rows = await narrow(selectAll(this.#db)).orderBy('key').execute()
    return rows.map(({ is_created: isCreated, ...row }) => ({
      ...row,
      isCreated,
      address: addressOf(row, row.generation),
    }))
  }
}

function selectAll(db: BzzzDatabase) {
  return db.selectFrom('v1_threads').selectAll()
}
