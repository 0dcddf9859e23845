import { setTimeout as sleep } from 'node:timers/promises'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { hashBytes } from '../../shared/blob/hash.ts'
import { startDaemons, type Daemons } from '../helpers/daemons.ts'
import { until } from '../helpers/mesh.ts'

/** More than the copies of a blob, so that records and contents lie with different nodes. */
const NODES = 4

/** A quarter of it is all a run may take on a busy machine. */
const GRACE_MS = 16_000

const CONTENTS = 12

interface Run {
  outcome: string
  reason: string | null
  deleted: number
}

let daemons: Daemons

beforeAll(async () => {
  const env = { BZZZ_GC_GRACE: `${GRACE_MS}ms`, BZZZ_QUOTAS: 'small=1000' }
  daemons = await startDaemons(NODES, { env })
})

afterAll(async () => {
  await daemons?.stop()
})

async function call(node: number, method: string, path: string, body?: object | string) {
  const isText = typeof body === 'string'
  const type = isText ? 'application/octet-stream' : 'application/json'
  const response = await fetch(daemons.nodes[node]!.url + path, {
    method,
    headers: {
      authorization: `Bearer ${daemons.token}`,
      ...(body && { 'content-type': type }),
    },
    ...(body && { body: isText ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as object }
}

async function put(node: number, text: string): Promise<string> {
  expect((await call(node, 'PUT', '/v1/blobs?ack=all', text)).status).toBe(201)
  return hashBytes(Buffer.from(text))
}

function name(node: number, address: string, hash: string) {
  const path = `/v1/addresses?address=${encodeURIComponent(address)}`
  return call(node, 'PUT', path, { hash, mediaType: 'text/plain' })
}

async function collect(node: number): Promise<Run> {
  return (await call(node, 'POST', '/v1/gc', { wait: true })).body as Run
}

async function exists(node: number, hash: string): Promise<boolean> {
  const headers = { authorization: `Bearer ${daemons.token}` }
  const url = `${daemons.nodes[node]!.url}/v1/blobs/${hash}`
  return (await fetch(url, { method: 'HEAD', headers })).ok
}

describe('lifetime in a cluster', () => {
  it('keeps what any node refers to and deletes the rest everywhere', async () => {
    const texts = Array.from({ length: CONTENTS }, (_, index) => `content ${index}`)
    const named: string[] = []
    for (const [index, text] of texts.entries()) {
      const hash = await put(index % NODES, text)
      named.push(hash)
      const written = await name((index + 1) % NODES, `agent@apollo/${index}`, hash)
      expect(written.status).toBe(201)
    }
    const garbage = await Promise.all(texts.map((text, at) => put(at % NODES, `${text} unnamed`)))
    const pinned = await put(0, 'pinned')
    expect((await call(1, 'PUT', `/v1/pins/${pinned}`)).status).toBe(201)
    for (let node = 0; node < NODES; node += 1) {
      expect(await collect(node)).toMatchObject({ outcome: 'done', deleted: 0 })
    }
    await sleep(GRACE_MS)
    const hold = { name: 'backup', ttl: '1m', reason: 'e2e' }
    expect((await call(2, 'POST', '/v1/holds', hold)).status).toBe(201)
    expect(await call(3, 'POST', '/v1/gc')).toMatchObject({
      status: 409,
      body: { error: { code: 'BZZZ_GC_HELD' } },
    })
    expect((await call(0, 'DELETE', '/v1/holds/backup')).status).toBe(204)
    await daemons.nodes[3]!.stop()
    const alone = await collect(0)
    expect(alone).toMatchObject({ outcome: 'incomplete', deleted: 0 })
    expect(alone.reason).toMatch(/did not tell its roots/)
    await daemons.nodes[3]!.start()
    await daemons.meshed()
    let deleted = 0
    const isGone = async (): Promise<boolean> => {
      for (let node = 0; node < NODES; node += 1) {
        const run = await collect(node)
        expect(run).toMatchObject({ outcome: 'done' })
        deleted += run.deleted
      }
      const left = await Promise.all(garbage.map((hash) => exists(0, hash)))
      return !left.includes(true)
    }
    // A copy that was on its way to the node that came back is young, and has a grace of its own.
    await until(isGone, 'the end of the garbage', 4 * GRACE_MS)
    // Three copies of each, and whatever a put through another node left there.
    expect(deleted).toBeGreaterThanOrEqual(3 * CONTENTS)
    for (const hash of [...named, pinned]) expect(await exists(0, hash)).toBe(true)
  })

  it('keeps a project below its limit, whichever nodes write', async () => {
    const sizes = Array.from({ length: 10 }, (_, index) => `${index}`.repeat(300))
    const hashes = await Promise.all(sizes.map((text, at) => put(at % NODES, text)))
    const writes = hashes.map((hash, at) => name(at % NODES, `agent@small/${at}`, hash))
    const statuses = (await Promise.all(writes)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 201)).toHaveLength(3)
    expect(statuses.filter((status) => status === 507)).toHaveLength(7)
  })

  it('reads everything again when asked', async () => {
    expect((await call(0, 'POST', '/v1/scrub')).status).toBe(202)
    await expect
      .poll(async () => (await call(0, 'GET', '/v1/scrub')).body, { timeout: 30_000 })
      .toMatchObject({ state: 'done', bad: 0, failed: 0 })
  })
})
