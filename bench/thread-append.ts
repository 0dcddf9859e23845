import pg from 'pg'

import { row, type Row } from './row.ts'
import { nameOf, startStage } from './thread/stage.ts'

export const name = 'thread-append'

const WRITERS = 16

/** Long enough that the start of it does not count. */
const SECONDS = 8

/** What is promised on embedded Postgres with so many writers. */
const PROMISED = 1_000

const TEXT = 'a message as an agent writes it, some two hundred characters long. '.repeat(3)

/** Messages a second that a quorum (of one), the record and the index have, over HTTP. */
export async function run(): Promise<Row[]> {
  const stage = await startStage(WRITERS)
  try {
    const append = (thread: string) => (): Promise<void> =>
      stage.post(`/messages?address=${nameOf(thread)}`, {
        messages: [{ role: 'assistant', content: TEXT }],
        create: true,
      })
    await append('one')()
    const one = await rate(() => append('one'))
    const each = await rate((writer) => append(`of-${writer}`))
    const rows = await inserts(stage.databaseURL)
    const work = (where: string): string => `append a message to ${where}, ${WRITERS} writers`
    const unit = 'messages/s'
    const promise = `the promised ${PROMISED}/s`
    const beside = 'a row inserted into Postgres'
    const bar = { atLeast: 1 }
    return [
      row({ work: work('one thread'), beside: promise, ours: one, peer: PROMISED, unit, bar }),
      row({ work: work('one thread'), beside, ours: one, peer: rows, unit }),
      row({ work: work('a thread each'), beside, ours: each, peer: rows, unit }),
    ]
  } finally {
    await stage.stop()
  }
}

/** Each writer begins its next when its last is answered. */
async function rate(workOf: (writer: number) => () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now()
  let done = 0
  const writer = async (_: unknown, index: number): Promise<void> => {
    const work = workOf(index)
    while (performance.now() - startedMs < SECONDS * 1000) {
      await work()
      done += 1
    }
  }
  await Promise.all(Array.from({ length: WRITERS }, writer))
  return done / ((performance.now() - startedMs) / 1000)
}

/** The same text as a row of its own transaction. */
async function inserts(databaseURL: string): Promise<number> {
  const pool = new pg.Pool({ connectionString: databaseURL, max: WRITERS })
  try {
    await pool.query('create table bench (id bigserial primary key, body text not null)')
    return await rate(() => () => pool.query('insert into bench (body) values ($1)', [TEXT]))
  } finally {
    await pool.end()
  }
}
