import { sql, type Kysely } from 'kysely'

/** What was brought over from v1, by which import, and how far each is. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await createImports(db)
  await createThreads(db)
  await createEntries(db)
}

/** Imports and their checkpoints. */
async function createImports(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('v1_imports')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('files', sql`text[]`, (column) => column.notNull())
    .addColumn('hosts', 'jsonb', (column) => column.notNull())
    .addColumn('created_by', 'text', (column) => column.notNull())
    .addColumn('created_at', 'timestamptz', (column) => column.notNull().defaultTo(sql`now()`))
    .addColumn('finished_at', 'timestamptz')
    .addColumn('flows', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('job', 'text')
    .addColumn('report', 'text')
    .execute()
  await db.schema
    .createTable('v1_chunks')
    .addColumn('import', 'text', (column) => column.notNull().references('v1_imports.id'))
    .addColumn('log', 'integer', (column) => column.notNull())
    .addColumn('author', 'text', (column) => column.notNull())
    .addColumn('genesis', 'text', (column) => column.notNull())
    .addColumn('chunk', 'integer', (column) => column.notNull())
    .addColumn('start', 'bigint', (column) => column.notNull())
    .addColumn('entries', 'integer', (column) => column.notNull())
    .addColumn('previous', 'text', (column) => column.notNull())
    .addColumn('head', 'text', (column) => column.notNull())
    .addColumn('blob', 'text', (column) => column.notNull())
    .addColumn('done_at', 'timestamptz')
    .addColumn('verified_at', 'timestamptz')
    .addColumn('verified_from', sql`text[]`)
    .addPrimaryKeyConstraint('v1_chunks_pk', ['import', 'log', 'author', 'genesis', 'chunk'])
    .execute()
}

/** Conversations, and which import brings which. */
async function createThreads(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('v1_threads')
    .addColumn('key', 'text', (column) => column.primaryKey())
    .addColumn('project', 'text', (column) => column.notNull())
    .addColumn('task', 'text')
    .addColumn('path', 'text', (column) => column.notNull())
    .addColumn('title', 'text', (column) => column.notNull())
    .addColumn('topic', 'text')
    .addColumn('generation', 'integer', (column) => column.notNull().defaultTo(1))
    .addColumn('is_created', 'boolean', (column) => column.notNull().defaultTo(false))
    .execute()
  await sql`create index v1_threads_topic on v1_threads (topic) where topic is not null`.execute(db)
  await db.schema
    .createTable('v1_import_threads')
    .addColumn('import', 'text', (column) => column.notNull().references('v1_imports.id'))
    .addColumn('thread', 'text', (column) => column.notNull().references('v1_threads.key'))
    .addColumn('done_at', 'timestamptz')
    .addPrimaryKeyConstraint('v1_import_threads_pk', ['import', 'thread'])
    .execute()
}

/** What was imported, and what was set aside. */
async function createEntries(db: Kysely<unknown>): Promise<void> {
  // Forks of a chain stand beside each other: nothing of v1 tells which of them is the true one.
  await db.schema
    .createTable('v1_entries')
    .addColumn('author', 'text', (column) => column.notNull())
    .addColumn('position', 'bigint', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .addColumn('blob', 'text', (column) => column.notNull())
    .addColumn('size_bytes', 'integer', (column) => column.notNull())
    .addColumn('type', 'text', (column) => column.notNull())
    .addColumn('written_at', 'text', (column) => column.notNull())
    .addColumn('ordered_at', 'bigint', (column) => column.notNull())
    .addColumn('thread', 'text', (column) => column.notNull().references('v1_threads.key'))
    .addColumn('message_id', 'text')
    .addColumn('parent_id', 'text')
    .addColumn('imports', sql`text[]`, (column) => column.notNull())
    .addPrimaryKeyConstraint('v1_entries_pk', ['author', 'position', 'hash'])
    .execute()
  await db.schema.createIndex('v1_entries_hash').on('v1_entries').column('hash').execute()
  await db.schema
    .createIndex('v1_entries_thread')
    .on('v1_entries')
    .columns(['thread', 'ordered_at', 'author', 'position', 'hash'])
    .execute()
  await db.schema
    .createTable('v1_quarantine')
    .addColumn('import', 'text', (column) => column.notNull().references('v1_imports.id'))
    .addColumn('file', 'text', (column) => column.notNull())
    .addColumn('file_offset', 'bigint', (column) => column.notNull())
    .addColumn('author', 'text')
    .addColumn('position', 'bigint', (column) => column.notNull())
    .addColumn('records', 'integer', (column) => column.notNull())
    .addColumn('reason', 'text', (column) => column.notNull())
    .addColumn('blob', 'text', (column) => column.notNull())
    .addColumn('size_bytes', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('v1_quarantine_pk', ['import', 'file', 'file_offset'])
    .execute()
}
