import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { createToken, createTokenKey } from '../../../shared/auth/token.ts'

let folder: string
let file: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-keys-'))
  file = join(folder, 'token-keys.json')
  vi.useFakeTimers({ toFake: ['Date'] })
})

afterEach(async () => {
  vi.useRealTimers()
  await rm(folder, { recursive: true })
})

async function issue() {
  const key = await createTokenKey()
  const token = await createToken(key.privateKey, {
    subject: 'ada',
    role: 'agent',
    lifetimeSeconds: 3600,
  })
  return { token, publicKeys: JSON.stringify(key.publicKeys) }
}

describe('key-file', () => {
  it('verifies with new keys after the file changed, without a restart', async () => {
    const [first, second] = [await issue(), await issue()]
    await writeFile(file, first.publicKeys)
    const verify = await createKeyFileVerifier(file)
    expect(await verify(first.token)).toMatchObject({ subject: 'ada' })
    await expect(verify(second.token)).rejects.toMatchObject({ code: 'BZZZ_TOKEN_INVALID' })

    await writeFile(file, second.publicKeys)
    await utimes(file, new Date(), new Date(Date.now() + 5000))
    vi.setSystemTime(Date.now() + 1000)
    expect(await verify(second.token)).toMatchObject({ subject: 'ada' })
    await expect(verify(first.token)).rejects.toMatchObject({ code: 'BZZZ_TOKEN_INVALID' })
  })

  it.each(['', '{', '{"keys":[]}', 'gone'])('keeps the old keys over %j', async (content) => {
    const { token, publicKeys } = await issue()
    await writeFile(file, publicKeys)
    const verify = await createKeyFileVerifier(file)
    if (content === 'gone') await rm(file)
    else await writeFile(file, content)
    vi.setSystemTime(Date.now() + 1000)
    expect(await verify(token)).toMatchObject({ subject: 'ada' })
  })

  it.each([null, '', '[]', '{"keys":[]}', '{"keys":[{"kty":"OKP"}]}'])(
    'refuses to start over %j',
    async (content) => {
      if (content !== null) await writeFile(file, content)
      await expect(createKeyFileVerifier(file)).rejects.toMatchObject({
        code: 'BZZZ_CONFIG_INVALID',
      })
    },
  )
})
