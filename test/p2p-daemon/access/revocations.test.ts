import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { SignJWT, importJWK } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { composeRevocations } from '../../../p2p-daemon/access/compose.ts'
import { SYSTEM_CLOCK } from '../../../p2p-daemon/clock.ts'
import { STATEMENTS_PER_MESSAGE_MAX } from '../../../p2p-daemon/access/constants.ts'
import { signRevocation } from '../../../shared/auth/revocation.ts'
import { DaemonSource } from '../../../shared/auth/revocation-sources.ts'
import { createTokenKey } from '../../../shared/auth/token.ts'
import { startAll, stopAll } from '../../../shared/lifecycle.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { startMemoryDaemon } from '../../helpers/memory-daemon.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'
import { until } from '../../helpers/mesh.ts'

type Key = Awaited<ReturnType<typeof createTokenKey>>

const log = createSilentLogger()
const HOUR_MS = 3_600_000

let folder: string
let key: Key
let nowMs: number
let network: MemoryNetwork
let open: (() => Promise<void>)[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bzzz-revocations-'))
  key = await createTokenKey()
  writeFileSync(join(folder, 'keys.json'), JSON.stringify(key.publicKeys))
  nowMs = Date.now()
  network = new MemoryNetwork()
  open = []
})

afterEach(async () => {
  for (const close of open) await close()
  rmSync(folder, { recursive: true })
})

async function startNode(peerId: string) {
  const mesh = network.join(peerId)
  const clock = { ...SYSTEM_CLOCK, now: () => nowMs }
  const node = composeRevocations(
    { mesh, log, clock },
    { file: join(folder, `${peerId}.json`), tokenKeysFile: join(folder, 'keys.json') },
  )
  await startAll([mesh, ...node.parts])
  const stop = () => stopAll([mesh, ...node.parts])
  open.push(stop)
  return { ...node, peerId, stop }
}

function statement(tokenId: string, expiresMs = nowMs + HOUR_MS): Promise<string> {
  return signRevocation(key.privateKey, { tokenId, expiresMs })
}

describe('revocations of a node', () => {
  it('are known to every peer when they were told to one', async () => {
    const [walnut, ironwood, acacia] = [
      await startNode('walnut'),
      await startNode('ironwood'),
      await startNode('acacia'),
    ]
    const { added, told } = await walnut.spread.add([await statement('a')])
    expect(added).toBe(1)
    expect(told.toSorted()).toEqual(['acacia', 'ironwood'])
    for (const node of [walnut, ironwood, acacia]) {
      expect(node.store.isRevoked('a')).toBe(true)
      expect(node.store.isRevoked('b')).toBe(false)
    }
  })

  it('reach a node that was away, also from one that only heard of them', async () => {
    const walnut = await startNode('walnut')
    const ironwood = await startNode('ironwood')
    // More than one message holds.
    const many = await Promise.all(
      Array.from({ length: STATEMENTS_PER_MESSAGE_MAX + 1 }, (_, index) =>
        statement(`id-${index}`),
      ),
    )
    await walnut.spread.add(many)
    await walnut.stop()
    network.isolate('walnut')
    const late = await startNode('late')
    await until(() => late.store.statements().length === many.length, 'the whole list')
    expect(late.store.isRevoked('id-0')).toBe(true)
    expect(late.store.etag()).toBe(ironwood.store.etag())
  })

  it('stand after a restart with nobody to ask', async () => {
    const first = await startNode('walnut')
    await first.spread.add([await statement('a')])
    await first.stop()
    const second = await startNode('walnut')
    expect(second.store.isRevoked('a')).toBe(true)
  })

  it('stop a node from starting when their file cannot be understood', async () => {
    writeFileSync(join(folder, 'walnut.json'), '{"statements":[')
    await expect(startNode('walnut')).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
  })

  it('go when their token is over', async () => {
    const walnut = await startNode('walnut')
    await walnut.spread.add([await statement('a', nowMs + 10_000)])
    const before = walnut.store.etag()
    nowMs += 20_000
    expect(walnut.store.isRevoked('a')).toBe(false)
    expect(walnut.store.statements()).toEqual([])
    expect(walnut.store.etag()).not.toBe(before)
  })

  it('are believed only when a key of the cluster signed them as such', async () => {
    const walnut = await startNode('walnut')
    const stranger = await createTokenKey()
    const forged = await signRevocation(
      { ...stranger.privateKey, kid: key.privateKey.kid! },
      { tokenId: 'a', expiresMs: nowMs + HOUR_MS },
    )
    // What is signed for something else, as a token is, says nothing about revocation.
    const other = await new SignJWT({ jti: 'a', exp: Math.ceil(nowMs / 1000) + 3600, iss: 'bzzz' })
      .setProtectedHeader({ alg: 'EdDSA', kid: key.privateKey.kid! })
      .sign(await importJWK(key.privateKey, 'EdDSA'))
    for (const bad of [forged, other, '', 'a.b.c']) {
      await expect(walnut.spread.add([bad])).rejects.toMatchObject({
        code: 'BZZZ_REQUEST_INVALID',
      })
    }
    // One bad one does not keep the good ones out.
    expect(await walnut.spread.add([forged, await statement('b')])).toMatchObject({ added: 1 })
    expect(walnut.store.isRevoked('a')).toBe(false)
    expect(walnut.store.isRevoked('b')).toBe(true)
    expect(readFileSync(join(folder, 'walnut.json'), 'utf8')).not.toContain(forged)
  })
})

describe('revocations over HTTP', () => {
  it('take a token away at once, and are told to functions that verify them', async () => {
    const daemon = await startMemoryDaemon()
    open.push(() => daemon.close())
    const { tokens, url } = daemon
    const admin = await tokens.create()
    const agent = await tokens.create({ role: 'agent' })
    const list = (token: string) =>
      fetch(`${url}/v1/peers`, { headers: { authorization: `Bearer ${token}` } })
    expect((await list(agent)).status).toBe(200)

    const post = (token: string, body: object) =>
      fetch(`${url}/v1/revocations`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    const revocation = { tokenId: tokens.idOf(agent), expiresMs: nowMs + HOUR_MS }
    const statements = [await signRevocation(tokens.privateKey, revocation)]
    expect((await post(agent, { statements })).status).toBe(403)
    expect((await post(admin, { statements: ['x'] })).status).toBe(400)
    expect((await list(agent)).status).toBe(200)
    expect(await (await post(admin, { statements })).json()).toMatchObject({ added: 1 })
    expect((await list(agent)).status).toBe(401)
    expect((await list(admin)).status).toBe(200)

    const source = new DaemonSource(
      { readKeys: () => Promise.resolve(tokens.publicKeys) },
      { endpoints: ['http://127.0.0.1:1', url] },
    )
    const { signal } = new AbortController()
    const told = await source.read(signal)
    expect(told.map(({ tokenId }) => tokenId)).toEqual([tokens.idOf(agent)])
    // Unchanged, it is not sent again, and the answer is the same.
    expect(await source.read(signal)).toEqual(told)
    const etag = (await fetch(`${url}/v1/revocations`)).headers.get('etag')!
    const again = await fetch(`${url}/v1/revocations`, { headers: { 'if-none-match': etag } })
    expect(again.status).toBe(304)

    const strangers = await createTokenKey()
    const deceived = new DaemonSource(
      { readKeys: () => Promise.resolve(strangers.publicKeys) },
      { endpoints: [url] },
    )
    expect(await deceived.read(signal)).toEqual([])
  })
})
