import { median, row, type Row } from './row.ts'
import { nameOf, startStage } from './thread/stage.ts'

export const name = 'thread-page'

const MESSAGES = 100_000
const BATCH = 500
const PAGES = 300
const PAGE_MESSAGES = 50

/** Longest median of a page, wherever in the thread it lies. */
const PROMISED_MS = 20

/** A page somewhere in a long thread, over HTTP: beside what is promised and a short thread. */
export async function run(): Promise<Row[]> {
  const stage = await startStage(1)
  try {
    await fill('long', MESSAGES)
    await fill('short', 2 * PAGE_MESSAGES)
    const long = await pages('long', MESSAGES)
    const short = await pages('short', 2 * PAGE_MESSAGES)
    const work = `a page of ${PAGE_MESSAGES} of a thread of ${MESSAGES} messages`
    const unit = 'ms'
    const promise = `the promised ${PROMISED_MS} ms`
    const bar = { atMost: 1 }
    return [
      row({ work, beside: promise, ours: long, peer: PROMISED_MS, unit, bar }),
      row({
        work,
        beside: `a page of a thread of ${2 * PAGE_MESSAGES}`,
        ours: long,
        peer: short,
        unit,
      }),
    ]
  } finally {
    await stage.stop()
  }

  async function fill(thread: string, count: number): Promise<void> {
    for (let done = 0; done < count; done += BATCH) {
      const messages = Array.from({ length: Math.min(BATCH, count - done) }, (_, index) => ({
        role: 'user',
        content: `message ${done + index} of an agent that has much to tell and a long memory`,
      }))
      await stage.post(`/messages?address=${nameOf(thread)}`, { messages, create: true })
    }
  }

  /** The median of pages spread over the thread. */
  async function pages(thread: string, count: number): Promise<number> {
    const times: number[] = []
    for (let page = 0; page < PAGES; page += 1) {
      const after = Math.floor(((page * 7919) % PAGES) * ((count - PAGE_MESSAGES) / PAGES))
      const query = `address=${nameOf(thread)}&after=${after}&limit=${PAGE_MESSAGES}`
      const startedMs = performance.now()
      const { messages } = (await stage.get(`/messages?${query}`)) as { messages: unknown[] }
      times.push(performance.now() - startedMs)
      if (messages.length !== PAGE_MESSAGES) throw new Error(`A page had ${messages.length}.`)
    }
    return median(times)
  }
}
