import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { JSONWebKeySet } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { ensureAdminToken } from '../../../cli/up/admin-token.ts'
import { layoutOf, type DataLayout } from '../../../cli/up/data-layout.ts'
import { readPrivateKey } from '../../../cli/up/token-keys.ts'
import { createToken, createTokenVerifier } from '../../../shared/auth/token.ts'

let layout: DataLayout

beforeEach(async () => {
  layout = layoutOf(await mkdtemp(join(tmpdir(), 'bzzz-token-')))
  await mkdir(layout.config)
})

afterEach(() => rm(layout.root, { recursive: true, force: true }))

async function publicKeys(): Promise<JSONWebKeySet> {
  return JSON.parse(await readFile(layout.tokenPublicKeys, 'utf8')) as JSONWebKeySet
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

describe('admin-token', () => {
  it('makes keys and a token that they verify, closed to others', async () => {
    const token = await ensureAdminToken(layout)
    const claims = await createTokenVerifier(await publicKeys())(token)
    expect(claims).toMatchObject({ subject: 'admin', role: 'admin', projects: ['*'] })
    expect(await modeOf(layout.adminToken)).toBe(0o600)
    expect(await modeOf(layout.tokenPrivateKey)).toBe(0o600)
    expect(JSON.stringify(await publicKeys())).not.toContain('"d"')
  })

  it('keeps the token of last time', async () => {
    const token = await ensureAdminToken(layout)
    expect(await ensureAdminToken(layout)).toBe(token)
  })

  it('makes a new token with the same key when the old one is about to expire', async () => {
    await ensureAdminToken(layout)
    const keys = await publicKeys()
    const request = { subject: 'admin', role: 'admin', lifetimeSeconds: 3600 } as const
    const old = await createToken(await readPrivateKey(layout), request)
    await writeFile(layout.adminToken, old)
    expect(await ensureAdminToken(layout)).not.toBe(old)
    expect(await publicKeys()).toEqual(keys)
  })

  it('goes on with a good token after the private key was taken elsewhere', async () => {
    const token = await ensureAdminToken(layout)
    await rm(layout.tokenPrivateKey)
    expect(await ensureAdminToken(layout)).toBe(token)
    await rm(layout.adminToken)
    await expect(ensureAdminToken(layout)).rejects.toMatchObject({
      code: 'BZZZ_DATA_FOLDER_INCOMPLETE',
    })
  })

  it('makes the public keys again from the private one', async () => {
    const token = await ensureAdminToken(layout)
    const before = await publicKeys()
    await rm(layout.tokenPublicKeys)
    expect(await ensureAdminToken(layout)).toBe(token)
    expect(await publicKeys()).toEqual(before)
  })
})
