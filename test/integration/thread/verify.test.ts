import { Readable } from 'node:stream'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { DaemonClient, type BlobAnswer } from '../../../shared/daemon/daemon-client.ts'
import type { OpenDatabase } from '../../../shared/db/database.ts'
import { encodeHead, THREAD_MEDIA_TYPE } from '../../../shared/thread/head.ts'
import { encodeMessage, type ThreadMessage } from '../../../shared/thread/message.ts'
import type { NewMessage } from '../../../shared/thread/new-message.ts'
import type { ThreadDaemon } from '../../../shared/thread/thread-blobs.ts'
import { Threads } from '../../../shared/thread/threads.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

let daemon: MemoryDaemon
let client: DaemonClient
let postgres: TestPostgres
let database: OpenDatabase & { url: string }
let threads: Threads
let token: string

const options = () => ({ token, author: 'tester' })
const say = (content: string): NewMessage => ({ role: 'user', content })

beforeAll(async () => {
  ;[daemon, postgres] = await Promise.all([startMemoryDaemon(), startTestPostgres()])
  database = await postgres.openMigrated()
  client = new DaemonClient({ endpoints: [daemon.url] })
  threads = new Threads({ daemon: client, db: database.db })
  token = await daemon.tokens.create()
}, 120_000)

afterAll(async () => {
  await client?.close()
  await postgres?.stop()
  await daemon?.close()
})

let made = 0
/** A thread of five messages, one of them long, in three versions. */
async function newThread() {
  made += 1
  const address = `bzzz://a@apollo/t${made}`
  await threads.create({ address }, options())
  const first = await threads.append(address, ['1', '2'].map(say), options())
  const texts = ['3', 'long '.repeat(4000), '5']
  const second = await threads.append(address, texts.map(say), options())
  return { address, hashes: [...first.items, ...second.items].map(({ hash }) => hash) }
}

/** A daemon that gives other bytes for one blob. */
function lying(about: string, bytes: Buffer): Threads {
  const liar: ThreadDaemon = {
    resolve: (...args) => client.resolve(...args),
    history: (...args) => client.history(...args),
    merge: (...args) => client.merge(...args),
    putBlob: (...args) => client.putBlob(...args),
    putBlobs: (...args) => client.putBlobs(...args),
    putNamed: (...args) => client.putNamed(...args),
    retain: (...args) => client.retain(...args),
    putAddress: (...args) => client.putAddress(...args),
    getBlob: async (hash, more): Promise<BlobAnswer> => {
      if (hash !== about) return client.getBlob(hash, more)
      const body = Readable.from([bytes]) as unknown as BlobAnswer['body']
      return { status: 200, headers: {}, body }
    },
  }
  return new Threads({ daemon: liar, db: database.db })
}

async function messageOf(hash: string): Promise<ThreadMessage> {
  const { body } = await client.getBlob(hash, { token })
  return (await body.json()) as ThreadMessage
}

describe('the verification of a thread', () => {
  it('finds nothing wrong where nothing is, and says how far it is', async () => {
    const { address, hashes } = await newThread()
    const told: number[][] = []
    const onProgress = (...now: number[]): void => void told.push(now)
    expect(await threads.verify(address, { token, onProgress })).toEqual({
      address,
      whole: true,
      versions: 3,
      messages: 5,
      contents: 1,
      ends: [hashes[4]],
      from: null,
      problems: [],
    })
    expect(told.at(-1)).toEqual([3, 3])
    const to = `${address}/fork`
    await threads.fork({ from: address, to, at: hashes[1]! }, options())
    await threads.append(to, [say('other')], options())
    const forked = await threads.verify(to, { token })
    expect(forked).toMatchObject({ whole: true, messages: 1, from: { messages: [hashes[1]] } })
  })

  it('finds a message that was changed', async () => {
    const { address, hashes } = await newThread()
    const changed = encodeMessage({ ...(await messageOf(hashes[2]!)), content: 'never said' })
    const report = await lying(hashes[2]!, changed).verify(address, { token })
    expect(report.whole).toBe(false)
    expect(report.problems[0]).toMatchObject({ what: 'message', hash: hashes[2], version: 3 })
    // What follows on it cannot be vouched for either.
    expect(report.problems).toContainEqual(
      expect.objectContaining({ hash: hashes[3], reason: expect.stringContaining('missing') }),
    )
  })

  it('finds a message, a content and a head that are gone', async () => {
    const { address, hashes } = await newThread()
    const { contentHash } = await messageOf(hashes[3]!)
    const { record } = await client.resolve(address, { token })
    await daemon.store.delete(contentHash!)
    expect((await threads.verify(address, { token })).problems).toMatchObject([
      { what: 'content', hash: contentHash },
    ])
    await daemon.store.delete(hashes[4]!)
    expect((await threads.verify(address, { token })).problems).toContainEqual(
      expect.objectContaining({ what: 'message', hash: hashes[4] }),
    )
    await daemon.store.delete(record.hash)
    expect((await threads.verify(address, { token })).problems).toContainEqual(
      expect.objectContaining({ what: 'head', hash: record.hash }),
    )
  })

  it('finds an index that says something else', async () => {
    const { address, hashes } = await newThread()
    const update = `update thread_messages set body = replace(body, '"5"', '"6"')
      where hash = '${hashes[4]}'`
    await postgres.query(database.url, update)
    expect((await threads.verify(address, { token })).problems).toMatchObject([
      { what: 'index', hash: hashes[4], reason: 'the index has another text' },
    ])
    await postgres.query(database.url, `delete from thread_messages where hash = '${hashes[4]}'`)
    const report = await threads.verify(address, { token })
    expect(report.problems).toMatchObject([{ what: 'index', reason: 'it is not in the index' }])
  })

  it('finds a message that stands in the wrong place', async () => {
    const { address, hashes } = await newThread()
    const message: ThreadMessage = {
      ...(await messageOf(hashes[4]!)),
      seq: 9,
      parents: [hashes[0]!],
    }
    const { record } = await client.resolve(address, { token })
    const { body } = await client.getBlob(record.hash, { token })
    const head = (await body.json()) as Parameters<typeof encodeHead>[0]
    const [first] = await client.putBlobs([encodeMessage(message)], { token })
    const next = { ...head, ends: [first!.hash], seq: 9, count: 6, added: [first!.hash] }
    const [second] = await client.putBlobs([encodeHead({ ...next, contents: [] })], { token })
    const write = { hash: second!.hash, mediaType: THREAD_MEDIA_TYPE }
    await client.putAddress(address, write, { token })
    expect((await threads.verify(address, { token })).problems).toContainEqual(
      expect.objectContaining({ what: 'message', reason: 'its seq is 9, not 2' }),
    )
  })
})
