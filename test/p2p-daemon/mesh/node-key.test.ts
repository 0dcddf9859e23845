import { execFile } from 'node:child_process'
import { chmod, mkdtemp, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { generateKeyPairSync, sign } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { createNodeKey, loadNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { InvalidConfigError } from '../../../shared/errors.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { signRecord, verifyRecord } from '../../../shared/record/record.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'bzzz-key-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

const keyFile = (): string => join(dataDir, 'config', 'node.key')

describe('node-key', () => {
  it('is made at the first start, kept for the next, and readable by nobody else', async () => {
    const first = await loadNodeKey(dataDir)
    expect((await loadNodeKey(dataDir)).peerId).toBe(first.peerId)
    expect((await stat(keyFile())).mode & 0o777).toBe(0o600)
    expect(await readdir(join(dataDir, 'config'))).toEqual(['node.key'])
  })

  it('is closed again when a restore left it open', async () => {
    await loadNodeKey(dataDir)
    await chmod(keyFile(), 0o644)
    await loadNodeKey(dataDir)
    expect((await stat(keyFile())).mode & 0o777).toBe(0o600)
  })

  it('is one key for processes that start at once', async () => {
    const module = new URL('../../../p2p-daemon/mesh/node-key.ts', import.meta.url).href
    const program =
      `const { loadNodeKey } = await import('${module}');` +
      `console.log((await loadNodeKey(${JSON.stringify(dataDir)})).peerId)`
    const run = promisify(execFile)
    const outputs = await Promise.all(
      Array.from({ length: 4 }, () =>
        run(process.execPath, ['--input-type=module', '-e', program]),
      ),
    )
    expect(new Set(outputs.map(({ stdout }) => stdout.trim())).size).toBe(1)
  })

  it('signs records that verify against the peer id', () => {
    const { peerId, signingKey } = createNodeKey()
    const record = signRecord(
      {
        address: 'bzzz://agent@project/x',
        version: 1,
        hash: hashBytes(Buffer.from('x')),
        sizeBytes: 1,
        mediaType: 'text/plain',
        previous: null,
        author: peerId,
        timestampMs: 1,
      },
      signingKey,
    )
    expect(() => verifyRecord(record)).not.toThrow()
  })

  it('gives libp2p and node:crypto the same key', async () => {
    const { privateKey, signingKey } = createNodeKey()
    const message = Buffer.from('the same')
    const theirs = Buffer.from(await privateKey.sign(message))
    expect(theirs.equals(sign(null, message, signingKey))).toBe(true)
  })

  it.each([
    ['text', 'not a key'],
    ['an RSA key', rsaKey()],
  ])('refuses a file that holds %s', async (_what, content) => {
    await mkdir(join(dataDir, 'config'))
    await writeFile(keyFile(), content)
    await expect(loadNodeKey(dataDir)).rejects.toBeInstanceOf(InvalidConfigError)
  })
})

function rsaKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}
