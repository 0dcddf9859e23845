import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { FileAllowList } from '../../../p2p-daemon/mesh/allow-list.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { InvalidConfigError } from '../../../shared/errors.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { until } from '../../helpers/mesh.ts'

const [a, b] = [createNodeKey().peerId, createNodeKey().peerId]

let dataDir: string
let list: FileAllowList

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'bzzz-allow-'))
  await mkdir(join(dataDir, 'config'))
  list = new FileAllowList({ log: createSilentLogger() }, { dataDir, pollMs: 20 })
})
afterEach(async () => {
  await list.stop()
  await rm(dataDir, { recursive: true })
})

async function write(content: unknown): Promise<void> {
  const text = typeof content === 'string' ? content : JSON.stringify(content)
  await writeFile(join(dataDir, 'config', 'peers.json'), text)
}

describe('allow-list', () => {
  it('allows nobody when there is no file', async () => {
    await list.start()
    expect(list.peerIds()).toEqual([])
    expect(list.has(a)).toBe(false)
  })

  it('allows who is in the file, by name', async () => {
    await write({ peers: [{ peerId: a, name: 'walnut' }] })
    await list.start()
    expect(list.has(a)).toBe(true)
    expect(list.nameOf(a)).toBe('walnut')
    expect(list.has(b)).toBe(false)
  })

  it('strikes a peer from the file at once, and no other', async () => {
    await write({ peers: [a, b].map((peerId) => ({ peerId, name: 'x' })) })
    await list.start()
    await Promise.all([list.strike((peerId) => peerId === a), list.strike(() => false)])
    expect(list.peerIds()).toEqual([b])
    const text = await readFile(join(dataDir, 'config', 'peers.json'), 'utf8')
    expect(JSON.parse(text)).toEqual({ peers: [{ peerId: b, name: 'x' }] })
  })

  it('does not write over a file that it cannot read', async () => {
    await list.start()
    await write('{"peers": [')
    await expect(list.strike(() => true)).rejects.toBeInstanceOf(InvalidConfigError)
    expect(await readFile(join(dataDir, 'config', 'peers.json'), 'utf8')).toBe('{"peers": [')
  })

  it('follows the file and tells of each change once', async () => {
    await list.start()
    let changes = 0
    const unsubscribe = list.onChange(() => (changes += 1))
    await write({ peers: [{ peerId: a, name: 'walnut' }] })
    await until(() => list.has(a), 'the first change')
    await write({ peers: [{ peerId: b, name: 'acacia' }] })
    await until(() => list.has(b), 'the second change')
    expect(list.has(a)).toBe(false)
    expect(changes).toBe(2)
    unsubscribe()
    await rm(join(dataDir, 'config', 'peers.json'))
    await until(() => list.peerIds().length === 0, 'the removal')
    expect(changes).toBe(2)
  })

  it.each([
    ['no JSON', '{"peers": ['],
    ['a name without a peer id', { peers: [{ name: 'walnut' }] }],
    ['a peer id that is none', { peers: [{ peerId: 'walnut', name: 'walnut' }] }],
  ])('keeps the last good list when the file becomes %s', async (_what, content) => {
    await write({ peers: [{ peerId: a, name: 'walnut' }] })
    await list.start()
    await write(content)
    await list.reload()
    expect(list.peerIds()).toEqual([a])
    await write({ peers: [{ peerId: b, name: 'acacia' }] })
    await list.reload()
    expect(list.peerIds()).toEqual([b])
  })

  it('refuses to start with a file that is no allow-list', async () => {
    await write('{"peers": "everyone"}')
    await expect(list.start()).rejects.toBeInstanceOf(InvalidConfigError)
  })
})
