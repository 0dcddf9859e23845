import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { RecordJSON } from '../../../shared/record/record.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import type { OpenDatabase } from '../../../shared/db/database.ts'
import {
  BlobNotFoundError,
  IdempotencyMismatchError,
  InvalidRequestError,
  NotAThreadError,
  ThreadExistsError,
} from '../../../shared/errors.ts'
import { MiB } from '../../../shared/limits.ts'
import { CONTENT_INLINE_BYTES_MAX } from '../../../shared/thread/constants.ts'
import { placeMessages } from '../../../shared/thread/dag.ts'
import { decodeHead, encodeHead, THREAD_MEDIA_TYPE } from '../../../shared/thread/head.ts'
import { messageHash } from '../../../shared/thread/message.ts'
import type { NewMessage } from '../../../shared/thread/new-message.ts'
import type { ThreadDaemon } from '../../../shared/thread/thread-blobs.ts'
import { Threads } from '../../../shared/thread/threads.ts'
import { makeRecord } from '../../helpers/record.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

let daemon: MemoryDaemon
let client: DaemonClient
let postgres: TestPostgres
let database: OpenDatabase
let threads: Threads
let token: string

const options = () => ({ token, author: 'tester' })
const say = (content: string, more: Partial<NewMessage> = {}): NewMessage =>
  ({ role: 'user', content, ...more }) as NewMessage

/** Each test has a thread of its own. */
let made = 0
async function newThread(): Promise<string> {
  made += 1
  const { thread } = await threads.create({ address: `bzzz://a@apollo/t${made}` }, options())
  return thread.address
}

/** A thread as its readers see it, in pages of a few. */
async function readAll(address: string, from = threads) {
  const messages = []
  let after: string | undefined
  do {
    const page = await from.read(
      address,
      { limit: 7, ...(after !== undefined && { after }) },
      { token },
    )
    messages.push(...page.messages)
    after = page.next ?? undefined
  } while (after !== undefined)
  return messages
}

beforeAll(async () => {
  ;[daemon, postgres] = await Promise.all([
    startMemoryDaemon({ putBytesMax: 4 * MiB, quotas: 'tiny=10' }),
    startTestPostgres(),
  ])
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

describe('threads', () => {
  it('keeps messages in order, each naming the one before', async () => {
    const address = await newThread()
    const first = await threads.append(address, [say('one'), say('two')], options())
    const second = await threads.append(
      address,
      [say('three', { role: 'assistant', refs: ['bzzz://a@apollo/plan'] })],
      options(),
    )
    expect(second.head).toEqual({ version: 3, seq: 3, messages: 3 })
    const messages = await readAll(address)
    expect(messages.map(({ content }) => content)).toEqual(['one', 'two', 'three'])
    expect(messages.map(({ seq }) => seq)).toEqual([1, 2, 3])
    const hashes = [...first.items, ...second.items].map(({ hash }) => hash)
    expect(messages.map(({ hash }) => hash)).toEqual(hashes)
    expect(messages.map(({ parents }) => parents)).toEqual([[], [hashes[0]], [hashes[1]]])
    for (const { hash, ...message } of messages) {
      expect(messageHash(message)).toBe(hash)
      expect(await daemon.store.stat(hash)).toBeDefined()
    }
  })

  it('begins with messages in its first version, and adds none to a thread that is there', async () => {
    const address = 'bzzz://a@apollo/begun'
    const long = 'wörd '.repeat(CONTENT_INLINE_BYTES_MAX)
    const messages = [say('one', { key: 'k1' }), say(long), say('three')]
    const named = { address, title: 'Begun', key: 'b', messages }
    const { thread, created } = await threads.create(named, options())
    expect([created, thread.version, thread.messages]).toEqual([true, 1, 3])
    const read = await readAll(address)
    expect(read.map(({ seq }) => seq)).toEqual([1, 2, 3])
    expect(read[1]).toMatchObject({ contentHash: hashBytes(Buffer.from(long)) })
    expect((await threads.create(named, options())).created).toBe(false)
    const again = await threads.append(address, [messages[0]!, say('four')], options())
    expect(again.items.map(({ existed }) => existed)).toEqual([true, false])
    expect(again.head).toEqual({ version: 2, seq: 4, messages: 4 })
    expect(await threads.verify(address, { token })).toMatchObject({ problems: [] })
    // As after a crash before the index had it: the blobs say the same.
    const before = await readAll(address)
    await sql`delete from thread_messages where thread_id = ${thread.id}`.execute(database.db)
    await sql`delete from thread_versions where thread_id = ${thread.id}`.execute(database.db)
    await sql`delete from threads where id = ${thread.id}`.execute(database.db)
    expect((await threads.create(named, options())).created).toBe(false)
    expect(await readAll(address)).toEqual(before)
    const twice = [say('one', { key: 'k1' }), say('two', { key: 'k1' })]
    const refused = threads.create({ address: `${address}2`, messages: twice }, options())
    await expect(refused).rejects.toThrow(InvalidRequestError)
  })

  it('keeps whatever text it is given, long ones in a blob of their own', async () => {
    const address = await newThread()
    const odd = 'NUL \0, quote " and é, \u2028 and 🐝'
    const long = 'wörd '.repeat(CONTENT_INLINE_BYTES_MAX)
    const huge = 'x'.repeat(MiB + 1)
    await threads.append(address, [say(odd), say(long), say(''), say(huge)], options())
    const messages = await readAll(address)
    expect(messages[0]!.content).toBe(odd)
    expect(messages[1]!).toMatchObject({
      contentHash: hashBytes(Buffer.from(long)),
      contentBytes: Buffer.byteLength(long),
    })
    expect(await daemon.store.stat(messages[1]!.contentHash!)).toBeDefined()
    expect(messages[2]!.content).toBe('')
    expect(await daemon.store.stat(hashBytes(Buffer.from(huge)))).toBeDefined()
    const given = { role: 'tool', contentHash: hashBytes(Buffer.from(huge)) } as const
    await threads.append(address, [given], options())
    expect((await readAll(address)).at(-1)).toMatchObject({ contentBytes: huge.length })
    const unknown = { role: 'tool', contentHash: '0'.repeat(64) } as const
    await expect(threads.append(address, [unknown], options())).rejects.toThrow(BlobNotFoundError)
  })

  it('takes a message once for each key, also when it comes twice at a time', async () => {
    const address = await newThread()
    const keyed = [say('a', { key: 'k1' }), say('b', { key: 'k2' })]
    const [one, two] = await Promise.all([
      threads.append(address, keyed, options()),
      threads.append(address, [say('b', { key: 'k2' }), say('c')], options()),
    ])
    const again = await threads.append(address, keyed, options())
    expect(again.items.map(({ existed }) => existed)).toEqual([true, true])
    expect(again.items.map(({ hash }) => hash)).toEqual(one.items.map(({ hash }) => hash))
    expect(two.items[0]!.hash).toBe(one.items[1]!.hash)
    expect((await readAll(address)).map(({ content }) => content)).toEqual(['a', 'b', 'c'])
    const other = threads.append(address, [say('other', { key: 'k1' })], options())
    await expect(other).rejects.toThrow(IdempotencyMismatchError)
    expect(await readAll(address)).toHaveLength(3)
  })

  it('makes one version of what many write together, and goes on with them', async () => {
    const address = await newThread()
    const writers = Array.from({ length: 8 }, async (_, index) => {
      for (let each = 0; each < 5; each += 1) {
        await threads.append(address, [say(`${index}/${each}`)], options())
      }
    })
    await Promise.all(writers)
    const thread = await threads.find(address, options())
    expect(thread.messages).toBe(40)
    expect(thread.version).toBeLessThan(40)
    const { problems } = await threads.verify(address, { token })
    expect(problems).toEqual([])
  })

  it('loses nothing when a hundred append at once, through two replicas', async () => {
    const address = await newThread()
    const other = await postgresPeer()
    const appended = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const through = index % 2 === 0 ? threads : other
        const mine: string[] = []
        for (let each = 0; each < 3; each += 1) {
          const { items } = await through.append(address, [say(`${index}/${each}`)], options())
          mine.push(items[0]!.hash)
        }
        return mine
      }),
    )
    const messages = await readAll(address)
    expect(messages.map(({ hash }) => hash).toSorted()).toEqual(appended.flat().toSorted())
    // One chain, whoever wrote: each seq once, each message behind the one before.
    expect(messages.map(({ seq }) => seq)).toEqual(messages.map((_, index) => index + 1))
    messages.slice(1).forEach(({ parents }, index) => {
      expect(parents).toEqual([messages[index]!.hash])
    })
    // What one writer appended one after the other stands in that order.
    for (const mine of appended) {
      const seqs = mine.map((hash) => messages.find((each) => each.hash === hash)!.seq)
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b))
    }
  })

  it('is created once, and not over something else', async () => {
    const address = 'bzzz://a@apollo/created'
    const made1 = await threads.create({ address, title: 'First', key: 'k' }, options())
    expect(made1).toMatchObject({ created: true, thread: { title: 'First', createdBy: 'tester' } })
    const again = await threads.create({ address, title: 'Other', key: 'k' }, options())
    expect(again).toMatchObject({ created: false, thread: { title: 'First' } })
    await expect(threads.create({ address }, options())).rejects.toThrow(ThreadExistsError)
    const [item] = await client.putBlobs([Buffer.from('plain')], { token })
    const write = { hash: item!.hash, mediaType: 'text/plain' }
    await client.putAddress('bzzz://a@apollo/plain', write, { token })
    const plain = threads.create({ address: 'bzzz://a@apollo/plain' }, options())
    await expect(plain).rejects.toThrow(NotAThreadError)
    const appended = threads.append('bzzz://a@apollo/plain', [say('x')], options())
    await expect(appended).rejects.toThrow(NotAThreadError)
  })

  it('makes a thread on the first append only when told to', async () => {
    const address = 'bzzz://a@apollo/on-demand'
    await expect(threads.append(address, [say('x')], options())).rejects.toMatchObject({
      code: 'BZZZ_ADDRESS_NOT_FOUND',
    })
    const create = { ...options(), create: true }
    await Promise.all([
      threads.append(address, [say('x')], create),
      threads.append(address, [say('y')], create),
    ])
    const contents = (await readAll(address)).map(({ content }) => content)
    expect(new Set(contents)).toEqual(new Set(['x', 'y']))
  })
})

describe('an append whose answer is lost on the way', () => {
  /** A daemon that is asked twice for the first record: the first answer got lost. */
  function forgetful(between: () => Promise<unknown>): ThreadDaemon {
    let asked = 0
    return {
      resolve: (...args) => client.resolve(...args),
      history: (...args) => client.history(...args),
      merge: (...args) => client.merge(...args),
      getBlob: (...args) => client.getBlob(...args),
      putBlob: (...args) => client.putBlob(...args),
      putBlobs: (...args) => client.putBlobs(...args),
      retain: (...args) => client.retain(...args),
      putAddress: (...args) => client.putAddress(...args),
      putNamed: async (...args) => {
        asked += 1
        if (asked === 1) {
          await client.putNamed(...args)
          await between()
        }
        return client.putNamed(...args)
      },
    }
  }

  it.each([
    ['nobody went on', async () => undefined],
    [
      'somebody went on behind it',
      (address: string) => threads.append(address, [say('behind')], options()),
    ],
  ])('is there once, where %s', async (_, goOn) => {
    const address = await newThread()
    const daemonTwice = forgetful(() => goOn(address))
    const through = new Threads({ daemon: daemonTwice, db: database.db })
    const { items } = await through.append(address, [say('once')], options())
    const messages = await readAll(address)
    const found = messages.filter(({ content }) => content === 'once')
    expect(found.map(({ hash, seq }) => ({ hash, seq, existed: false }))).toEqual(items)
    await through.append(address, [say('last')], options())
    expect((await readAll(address)).at(-1)!.content).toBe('last')
    expect((await threads.verify(address, { token })).whole).toBe(true)
  })
})

describe('what others write to the address of a thread', () => {
  const empty = {
    createdBy: 'eve',
    createdAt: '2026-11-23T18:00:00.000Z',
    ...{ ends: [], seq: 0, count: 0, added: [], contents: [] },
  }

  async function write(address: string, bytes: Buffer, mediaType: string): Promise<void> {
    const [item] = await client.putBlobs([bytes], { token })
    await client.putAddress(address, { hash: item!.hash, mediaType }, { token })
  }

  it('shows nothing of a thread that it only claims to come from', async () => {
    const secret = 'bzzz://a@secret/thread'
    const { items } = await threads.append(secret, [say('secret')], { ...options(), create: true })
    const claim = async (address: string, messages: string[]): Promise<unknown[]> => {
      const from = { thread: secret, messages, seq: 1 }
      const head = encodeHead({ ...empty, thread: address, from, ends: messages, seq: 1 })
      await write(address, head, THREAD_MEDIA_TYPE)
      return (await threads.read(address, {}, { token })).messages
    }
    expect(await claim('bzzz://eve@apollo/guessed', ['a'.repeat(64)])).toEqual([])
    expect(await claim('bzzz://eve@apollo/none', [])).toEqual([])
    // Who knows the hash may read the blob anyway.
    expect(await claim('bzzz://eve@apollo/known', [items[0]!.hash])).toHaveLength(1)
  })

  it('goes on behind content that is no head, and heads and messages of others', async () => {
    const address = await newThread()
    const other = await newThread()
    await threads.append(other, [say('elsewhere')], options())
    const { record } = await client.resolve(other, { token })
    const { body } = await client.getBlob(record.hash, { token })
    const foreign = Buffer.from(await body.arrayBuffer())
    const { added } = decodeHead(foreign)
    await threads.append(address, [say('one')], options())
    await write(address, Buffer.from('{}'), THREAD_MEDIA_TYPE)
    await write(address, foreign, THREAD_MEDIA_TYPE)
    await write(address, encodeHead({ ...empty, thread: address, added }), THREAD_MEDIA_TYPE)
    await write(address, Buffer.from('a note'), 'text/plain')
    const through = await postgresPeer()
    await through.append(address, [say('two')], options())
    const contents = (await readAll(address, through)).map(({ content }) => content)
    expect(contents).toEqual(['one', 'two'])
    expect((await threads.verify(address, { token })).whole).toBe(false)
  })

  it('takes nothing in that the project has no room for', async () => {
    const full = threads.create({ address: 'bzzz://a@tiny/thread' }, options())
    await expect(full).rejects.toMatchObject({ code: 'BZZZ_QUOTA_EXCEEDED' })
  })
})

describe('a thread after a partition', () => {
  /** The other side of a partition: a version that follows on `before` as another one does. */
  async function otherSide(before: RecordJSON, content: string): Promise<string> {
    const head = decodeHead(await bytesOf(before.hash))
    const plain = { role: 'user' as const, author: 'other', content, refs: [] }
    const unplaced = { ...plain, createdAt: '2026-11-23T18:00:00.000Z' }
    const [placed] = placeMessages(head.thread, head, [unplaced])
    const { hash, message, bytes } = placed!
    const next = { ...head, ends: [hash], seq: message.seq, count: head.count + 1, added: [hash] }
    const [, stored] = await client.putBlobs([bytes, encodeHead(next)], { token })
    daemon.records.add(
      makeRecord({
        address: head.thread,
        version: before.version + 1,
        previous: before.record,
        hash: stored!.hash,
        sizeBytes: stored!.size,
        mediaType: THREAD_MEDIA_TYPE,
      }),
    )
    return hash
  }

  async function bytesOf(hash: string): Promise<Buffer> {
    const { body } = await client.getBlob(hash, { token })
    return Buffer.from(await body.arrayBuffer())
  }

  it('has the messages of both sides, and the next one follows both', async () => {
    const address = await newThread()
    await threads.append(address, [say('before')], options())
    const { record } = await client.resolve(address, { token })
    const { items } = await threads.append(address, [say('this side')], options())
    const other = await otherSide(record, 'that side')
    expect((await client.resolve(address, { token })).forks).toBe(1)
    // A replica that was not there: what it remembers of the thread is nothing.
    await (await postgresPeer()).append(address, [say('after')], options())
    const messages = await readAll(address)
    const contents = messages.map(({ content }) => content)
    expect(new Set(contents.slice(1, 3))).toEqual(new Set(['this side', 'that side']))
    expect([contents[0], contents[3]]).toEqual(['before', 'after'])
    const both = [items[0]!.hash, other].toSorted((a, b) => (a < b ? -1 : 1))
    expect(messages[3]).toMatchObject({ seq: 3, parents: both })
    expect((await client.resolve(address, { token })).forks).toBe(0)
    const report = await threads.verify(address, { token })
    expect(report).toMatchObject({ whole: true, messages: 4, ends: [messages[3]!.hash] })
    // The writer from before the partition goes on behind all of it.
    await threads.append(address, [say('and on')], options())
    expect((await readAll(address)).at(-1)).toMatchObject({ seq: 4, parents: [messages[3]!.hash] })
    const empty = await postgres.openMigrated()
    const anew = new Threads({ daemon: client, db: empty.db })
    expect(await readAll(address, anew)).toEqual(await readAll(address))
  })

  it('has them all, too, when somebody settled the fork without looking', async () => {
    const address = await newThread()
    await threads.append(address, [say('before')], options())
    const { record } = await client.resolve(address, { token })
    await threads.append(address, [say('this side')], options())
    const other = await otherSide(record, 'that side')
    await client.merge(
      address,
      { pick: (await client.resolve(address, { token })).record.record },
      { token },
    )
    await (await postgresPeer()).append(address, [say('after')], options())
    const messages = await readAll(address)
    expect(messages).toHaveLength(4)
    expect(messages[3]!.parents).toContain(other)
    expect(await threads.verify(address, { token })).toMatchObject({ whole: true, messages: 4 })
  })
})

describe('forks, lists and searches of threads', () => {
  it('forks a thread at a message, and goes on apart from it', async () => {
    const from = await newThread()
    const { items } = await threads.append(
      from,
      ['1', '2', '3'].map((text) => say(text)),
      options(),
    )
    const to = `${from}-fork`
    await threads.fork({ from, to, at: items[1]!.hash, title: 'Otherwise' }, options())
    await threads.append(to, [say('4')], options())
    await threads.append(from, [say('not here')], options())
    const forked = await readAll(to)
    expect(forked.map(({ content }) => content)).toEqual(['1', '2', '4'])
    expect(forked[2]).toMatchObject({ thread: to, seq: 3, parents: [items[1]!.hash] })
    const again = `${from}-again`
    await threads.fork({ from: to, to: again }, options())
    await threads.append(again, [say('5')], options())
    expect((await readAll(again)).map(({ content }) => content)).toEqual(['1', '2', '4', '5'])
    const desc = await threads.read(again, { order: 'desc', limit: 3 }, { token })
    expect(desc.messages.map(({ content }) => content)).toEqual(['5', '4', '2'])
    const rest = await threads.read(again, { order: 'desc', after: desc.next! }, { token })
    expect(rest.messages.map(({ content }) => content)).toEqual(['1'])
    const nowhere = { from, to: `${from}-x`, at: '0'.repeat(64) }
    await expect(threads.fork(nowhere, options())).rejects.toThrow(BlobNotFoundError)
  })

  it('lists and searches what the token covers, in pages', async () => {
    for (const name of ['a@gemini/1', 'b@gemini/2', 'a@gemini-two/3']) {
      const address = `bzzz://${name}`
      await threads.create({ address, title: name }, options())
      await threads.append(address, [say(`zebra crossing ${name}`), say('nothing')], options())
    }
    const titles = async (query: Partial<Parameters<Threads['list']>[0]>) => {
      const page = await threads.list({ projects: ['gemini*'], ...query })
      return page.threads.map(({ title }) => title)
    }
    expect(await titles({})).toEqual(['a@gemini-two/3', 'b@gemini/2', 'a@gemini/1'])
    expect(await titles({ projects: ['gemini'] })).toEqual(['b@gemini/2', 'a@gemini/1'])
    expect(await titles({ pattern: 'bzzz://a:*@*:*/' })).toEqual(['a@gemini-two/3', 'a@gemini/1'])
    const { next } = await threads.list({ projects: ['gemini*'], limit: 2 })
    expect(await titles({ after: next! })).toEqual(['a@gemini/1'])
    const search = async (query: Partial<Parameters<Threads['search']>[0]>) => {
      const page = await threads.search({ text: 'zebra', projects: ['*'], ...query })
      return page.messages.map(({ thread }) => thread.slice('bzzz://'.length))
    }
    expect(await search({})).toEqual(['a@gemini-two/3', 'b@gemini/2', 'a@gemini/1'])
    expect(await search({ projects: ['gemini'] })).toEqual(['b@gemini/2', 'a@gemini/1'])
    expect(await search({ text: '"crossing zebra"' })).toEqual([])
    expect(await search({ address: 'bzzz://b@gemini/2' })).toEqual(['b@gemini/2'])
    const first = await threads.search({ text: 'zebra', projects: ['*'], limit: 2 })
    expect(await search({ after: first.next! })).toEqual(['a@gemini/1'])
  })

  it('answers the same from an index that was lost', async () => {
    const from = await newThread()
    const long = 'needle '.repeat(CONTENT_INLINE_BYTES_MAX)
    await threads.append(from, [say('one', { key: 'k' }), say(long)], options())
    const address = `${from}-fork`
    await threads.fork({ from, to: address }, options())
    await threads.append(address, [say('three')], options())
    const empty = await postgres.openMigrated()
    const other = new Threads({ daemon: client, db: empty.db })
    expect(await readAll(address, other)).toEqual(await readAll(address))
    const { id: _old, fromId: _from, ...thread } = await threads.find(address, { token })
    expect(await other.find(address, { token })).toMatchObject(thread)
    const query = { text: 'needle', projects: ['*'], address: from }
    expect(await other.search(query)).toEqual(await threads.search(query))
    const keyed = await other.append(from, [say('one', { key: 'k' })], options())
    expect(keyed.items[0]).toMatchObject({ seq: 1, existed: true })
  })
})

/** Another replica of a function, with connections of its own. */
async function postgresPeer(): Promise<Threads> {
  return new Threads({ daemon: client, db: database.db })
}
