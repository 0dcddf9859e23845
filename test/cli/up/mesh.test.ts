import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { writeAllowLists, type MeshNode } from '../../../cli/up/mesh.ts'

let base: string

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'bzzz-mesh-'))
})

afterEach(() => rm(base, { recursive: true, force: true }))

function node(name: string, peerId = `id-of-${name}`): MeshNode {
  return { name, peerId, dataDir: join(base, name), endpoint: 'http://127.0.0.1:1' }
}

async function listOf(name: string): Promise<unknown> {
  return JSON.parse(await readFile(join(base, name, 'config/peers.json'), 'utf8'))
}

describe('mesh', () => {
  it('lets every node in with every other, and not with itself', async () => {
    await writeAllowLists([node('walnut'), node('ironwood')])
    expect(await listOf('walnut')).toEqual({
      peers: [{ peerId: 'id-of-ironwood', name: 'ironwood' }],
    })
    expect(await listOf('ironwood')).toEqual({
      peers: [{ peerId: 'id-of-walnut', name: 'walnut' }],
    })
  })

  it('keeps what an operator added and replaces an older self of a node', async () => {
    await mkdir(join(base, 'walnut/config'), { recursive: true })
    const peers = [
      { peerId: 'id-of-elsewhere', name: 'birch' },
      { peerId: 'old-id', name: 'ironwood' },
    ]
    await writeFile(join(base, 'walnut/config/peers.json'), JSON.stringify({ peers }))
    await writeAllowLists([node('walnut'), node('ironwood')])
    expect(await listOf('walnut')).toEqual({
      peers: [
        { peerId: 'id-of-ironwood', name: 'ironwood' },
        { peerId: 'id-of-elsewhere', name: 'birch' },
      ],
    })
  })

  it('does not write over a list that it cannot read', async () => {
    await mkdir(join(base, 'walnut/config'), { recursive: true })
    const file = join(base, 'walnut/config/peers.json')
    await writeFile(file, '{"peers": [')
    await expect(writeAllowLists([node('walnut')])).rejects.toMatchObject({
      code: 'BZZZ_PROCESS_START',
    })
    expect(await readFile(file, 'utf8')).toBe('{"peers": [')
  })
})
