import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { runCli } from '../../../cli/cli.ts'
import { ensureAdminToken } from '../../../cli/up/admin-token.ts'
import { layoutOf, type DataLayout } from '../../../cli/up/data-layout.ts'
import { readPrivateKey, readPublicKeys, rotateKeys } from '../../../cli/up/token-keys.ts'
import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { createToken } from '../../../shared/auth/token.ts'
import { createCommandHost } from '../../helpers/command-host.ts'

const DAY_SECONDS = 86_400

let layout: DataLayout

beforeEach(async () => {
  layout = layoutOf(await mkdtemp(join(tmpdir(), 'bzzz-keys-')))
  await mkdir(layout.config)
  vi.useFakeTimers({ toFake: ['Date'] })
})

afterEach(async () => {
  vi.useRealTimers()
  await rm(layout.root, { recursive: true, force: true })
})

async function token(): Promise<string> {
  const request = { subject: 'ada', role: 'agent', lifetimeSeconds: 300 * DAY_SECONDS } as const
  return createToken(await readPrivateKey(layout), request)
}

function pass(seconds: number): void {
  vi.setSystemTime(Date.now() + seconds * 1000)
}

describe('token-keys', () => {
  it('keeps tokens of the old key good until the overlap ends, without a restart', async () => {
    await ensureAdminToken(layout)
    const old = await token()
    const verify = await createKeyFileVerifier(layout.tokenPublicKeys)
    const { replaced } = await rotateKeys(layout, 2 * DAY_SECONDS)
    expect(replaced).toHaveLength(1)
    const young = await token()
    pass(1)
    expect(await verify(old)).toMatchObject({ subject: 'ada' })
    expect(await verify(young)).toMatchObject({ subject: 'ada' })
    pass(2 * DAY_SECONDS + 60)
    await expect((async () => verify(old))()).rejects.toMatchObject({ code: 'BZZZ_TOKEN_EXPIRED' })
    expect(await verify(young)).toMatchObject({ subject: 'ada' })
  })

  it('takes a stolen key out at once, also for tokens that were let through before', async () => {
    await ensureAdminToken(layout)
    const old = await token()
    const verify = await createKeyFileVerifier(layout.tokenPublicKeys)
    expect(await verify(old)).toMatchObject({ subject: 'ada' })
    await rotateKeys(layout, 0)
    pass(1)
    await expect((async () => verify(old))()).rejects.toMatchObject({ code: 'BZZZ_TOKEN_INVALID' })
  })

  it('gives no key a second life, and drops those whose time is over', async () => {
    await ensureAdminToken(layout)
    const { replaced: first } = await rotateKeys(layout, DAY_SECONDS)
    const { replaced: second } = await rotateKeys(layout, 100 * DAY_SECONDS)
    expect(second).toContainEqual(first[0])
    expect(second).toHaveLength(2)
    pass(2 * DAY_SECONDS)
    const { replaced: third } = await rotateKeys(layout, DAY_SECONDS)
    expect(third.map(({ kid }) => kid)).not.toContain(first[0]!.kid)
    expect((await readPublicKeys(layout)).keys).toHaveLength(third.length + 1)
  })

  it('rotates on command, with a new admin token and the private key closed to others', async () => {
    const before = await ensureAdminToken(layout)
    const { host, stdout, stderr } = createCommandHost({ BZZZ_DATA: layout.root })
    expect(await runCli(['token', 'rotate', '--overlap', '7d'], host)).toBe(0)
    const { kid, d } = await readPrivateKey(layout)
    expect(stdout.text()).toContain(String(kid))
    expect(stderr.text()).toContain(layout.tokenPublicKeys)
    const admin = (await readFile(layout.adminToken, 'utf8')).trim()
    expect(admin).not.toBe(before)
    const verify = await createKeyFileVerifier(layout.tokenPublicKeys)
    expect(await verify(admin)).toMatchObject({ role: 'admin' })
    expect(await verify(before)).toMatchObject({ role: 'admin' })
    expect((await stat(layout.tokenPrivateKey)).mode & 0o777).toBe(0o600)
    for (const text of [stdout.text(), await readFile(layout.tokenPublicKeys, 'utf8')]) {
      expect(text).not.toContain(String(d))
      expect(text).not.toContain('bzzz_')
    }
  })
})
