import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { Scope } from '../../../shared/auth/scopes.ts'
import { BATCH_BLOBS_MAX, BLOB_BATCH_MEDIA_TYPE, encodeBatch } from '../../../shared/blob/batch.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import { DaemonUnavailableError } from '../../../shared/errors.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

let daemon: MemoryDaemon
let client: DaemonClient
let token: string

beforeAll(async () => {
  daemon = await startMemoryDaemon({ quotas: 'apollo=10' })
  client = new DaemonClient({ endpoints: [daemon.url] })
  token = await daemon.tokens.create()
})

afterAll(async () => {
  await client.close()
  await daemon.close()
})

const texts = (count: number, of: string) =>
  Array.from({ length: count }, (_, index) => Buffer.from(`${of} ${index}`))

async function post(body: Uint8Array, headers: Record<string, string> = {}) {
  const answer = await fetch(`${daemon.url}/v1/blobs/batch`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': BLOB_BATCH_MEDIA_TYPE,
      ...headers,
    },
    body: body as Uint8Array<ArrayBuffer>,
  })
  const { error } = (await answer.json()) as { error?: { code: string } }
  return { status: answer.status, code: error?.code }
}

describe('POST /v1/blobs/batch/read', () => {
  it('answers blobs in the order of their hashes, hashed again', async () => {
    const blobs = [...texts(50, 'read'), Buffer.alloc(0), Buffer.alloc(100_000, 7)]
    await client.putBlobs(blobs, { token })
    const hashes = blobs.map(hashBytes).toReversed()
    const answer = await client.getBlobs([...hashes, hashes[3]!], { token })
    expect(answer.blobs.map(hashBytes)).toEqual([...hashes, hashes[3]])
    expect(answer.servedBy).toBe(daemon.peerId)
  })

  it('answers nothing when one is nowhere, or all are too much', async () => {
    const [blob] = texts(1, 'alone')
    await client.putBlobs([blob!], { token })
    const gone = hashBytes(Buffer.from('nowhere'))
    await expect(client.getBlobs([hashBytes(blob!), gone], { token })).rejects.toMatchObject({
      code: 'BZZZ_BLOB_NOT_FOUND',
    })
    const large = Buffer.alloc(1 << 20, 1)
    await client.putBlobs([large], { token })
    const hash = hashBytes(large)
    const many = Array.from({ length: 17 }, () => hash)
    await expect(client.getBlobs(many, { token })).rejects.toMatchObject({
      code: 'BZZZ_BODY_TOO_LARGE',
    })
    await expect(client.getBlobs(['nonsense'], { token })).rejects.toMatchObject({ status: 400 })
  })
})

describe('POST /v1/blobs/batch', () => {
  it('stores every blob and answers for each in order', async () => {
    const blobs = [...texts(100, 'first'), Buffer.alloc(0), Buffer.from('first 3')]
    const items = await client.putBlobs(blobs, { token })
    expect(items.map(({ hash }) => hash)).toEqual(blobs.map(hashBytes))
    expect(items.map(({ size }) => size)).toEqual(blobs.map(({ length }) => length))
    expect(items.every(({ replicas }) => replicas === 1)).toBe(true)
    for (const blob of blobs) expect(await daemon.store.stat(hashBytes(blob))).toBeDefined()
    const again = await client.putBlobs(blobs, { token, ack: 'all' })
    expect(again.every(({ existed }) => existed)).toBe(true)
  })

  it('lets an address name what it stored', async () => {
    const [item] = await client.putBlobs([Buffer.from('named')], { token })
    const write = { hash: item!.hash, mediaType: 'text/plain' }
    const { record } = await client.putAddress('bzzz://a@gemini/named', write, { token })
    expect(record.hash).toBe(hashBytes(Buffer.from('named')))
  })

  it('refuses what is no batch, too many blobs, and what a project has no room for', async () => {
    const bad = { status: 400, code: 'BZZZ_REQUEST_INVALID' }
    expect(await post(Buffer.from([0, 0, 0, 9, 1]))).toEqual(bad)
    expect(await post(Buffer.alloc(0))).toEqual(bad)
    expect(await post(encodeBatch(texts(BATCH_BLOBS_MAX + 1, 'many')))).toEqual(bad)
    const full = await post(encodeBatch(texts(5, 'quota')), { 'bzzz-project': 'apollo' })
    expect(full).toEqual({ status: 507, code: 'BZZZ_QUOTA_EXCEEDED' })
    expect(await daemon.store.stat(hashBytes(Buffer.from('quota 0')))).toBeUndefined()
  })

  it('is sent to the next daemon when the first is away', async () => {
    const two = new DaemonClient({ endpoints: ['http://127.0.0.1:9', daemon.url] })
    const [item] = await two.putBlobs([Buffer.from('moved on')], { token })
    expect(item?.hash).toBe(hashBytes(Buffer.from('moved on')))
    await two.close()
    const none = new DaemonClient({ endpoints: ['http://127.0.0.1:9'] })
    const putting = none.putBlobs([Buffer.from('nowhere')], { token })
    await expect(putting).rejects.toBeInstanceOf(DaemonUnavailableError)
    await none.close()
  })
})

describe('PUT /v1/addresses/batch', () => {
  const address = 'bzzz://a@gemini/head'
  const mediaType = 'text/plain'
  const naming = (blobs: readonly Buffer[]) => ({ hash: hashBytes(blobs.at(-1)!), mediaType })

  it('stores all blobs and names the last one', async () => {
    const blobs = texts(20, 'together')
    const { status, record } = await client.putNamed(
      address,
      blobs,
      { ...naming(blobs), ifVersion: 0 },
      { token },
    )
    expect(status).toBe(201)
    expect(record).toMatchObject({ version: 1, hash: hashBytes(blobs[19]!), size: 11, mediaType })
    for (const blob of blobs) expect(await daemon.store.stat(hashBytes(blob))).toBeDefined()
    const { record: standing } = await client.resolve(address, { token })
    expect(standing.record).toBe(record.record)
    const again = await client.putNamed(address, blobs, naming(blobs), { token })
    expect(again).toMatchObject({ status: 200, record: { version: 1 } })
  })

  it('refuses a writer who is late, with the record that stands', async () => {
    const blobs = texts(2, 'late')
    const write = { ...naming(blobs), ifVersion: 0 }
    await expect(client.putNamed(address, blobs, write, { token })).rejects.toMatchObject({
      status: 409,
      details: { current: { version: 1 } },
    })
  })

  it('names nothing that arrived otherwise than it was sent', async () => {
    const blobs = texts(2, 'changed')
    const write = { hash: hashBytes(blobs[0]!), mediaType }
    const putting = client.putNamed('bzzz://a@gemini/changed', blobs, write, { token })
    await expect(putting).rejects.toMatchObject({ code: 'BZZZ_HASH_MISMATCH' })
    await expect(client.resolve('bzzz://a@gemini/changed', { token })).rejects.toMatchObject({
      code: 'BZZZ_ADDRESS_NOT_FOUND',
    })
  })

  it('asks for both scopes, the project and its room', async () => {
    const blobs = texts(2, 'denied')
    const put = (name: string, as: string) =>
      client.putNamed(name, blobs, naming(blobs), { token: as, project: 'apollo' })
    const viewer = await daemon.tokens.create({ role: 'viewer' })
    const only = (scopes: Scope[]) => daemon.tokens.create({ scopes })
    const elsewhere = await daemon.tokens.create({ projects: ['gemini'] })
    const denied = { code: 'BZZZ_SCOPE_MISSING' }
    for (const as of [viewer, await only(['address:write']), await only(['blob:write'])]) {
      await expect(put('bzzz://a@gemini/x', as)).rejects.toMatchObject(denied)
    }
    await expect(put('bzzz://a@apollo/x', elsewhere)).rejects.toMatchObject(denied)
    await expect(put('bzzz://a@apollo/x', token)).rejects.toMatchObject({
      code: 'BZZZ_QUOTA_EXCEEDED',
    })
  })
})
