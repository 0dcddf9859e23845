import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { InvalidAddressError } from '../../../shared/errors.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'
import { startRecordNode, type RecordNode } from '../../helpers/record-node.ts'

const EVERYTHING = 'bzzz://*:*@*:*/'

let network: MemoryNetwork
let nodes: RecordNode[]

/** Five, so that no node holds every address. */
beforeEach(async () => {
  network = new MemoryNetwork()
  nodes = []
  for (let index = 0; index < 5; index += 1) nodes.push(await startRecordNode(network))
})

afterEach(() => Promise.all(nodes.map((node) => node.close())))

async function write(name: string, text = name): Promise<void> {
  const hash = hashBytes(Buffer.from(text))
  const content = { hash, sizeBytes: text.length, mediaType: 'text/plain' }
  await nodes[0]!.service.write(name, content)
}

async function walk(node: RecordNode, pattern: string, limit: number, projects = ['*']) {
  const found: string[] = []
  let after: string | null = ''
  for (let pages = 0; after !== null && pages < 100; pages += 1) {
    const page = await node.search.find({ pattern, projects, after, limit })
    expect(page.items.length).toBeLessThanOrEqual(limit)
    found.push(...page.items.map(({ address }) => address))
    after = page.next
  }
  return found
}

describe('record-search', () => {
  it('finds on every node, page by page, what lies on all of them', async () => {
    const names = Array.from({ length: 16 }, (_, n) => `bzzz://a@p${n % 4}/n${n}`).toSorted()
    for (const name of names) await write(name)
    for (const node of nodes) {
      expect(node.store.addresses()).toBeLessThanOrEqual(16)
      for (const limit of [3, 64]) expect(await walk(node, EVERYTHING, limit)).toEqual(names)
    }
    const covered = names.filter((name) => name.includes('@p1/'))
    expect(await walk(nodes[4]!, EVERYTHING, 3, ['p1'])).toEqual(covered)
    expect(await walk(nodes[3]!, 'bzzz://a@p1/**', 3)).toEqual(covered)
  })

  it('gives the newest version of each', async () => {
    await write('bzzz://a@p/x', 'one')
    await write('bzzz://a@p/x', 'two')
    const page = await nodes[2]!.search.find({
      pattern: 'bzzz://a@p/x',
      projects: ['*'],
      after: '',
      limit: 10,
    })
    expect(page).toMatchObject({ items: [{ version: 2 }], next: null, partial: false })
  })

  it('says when so many are away that addresses may be missing', async () => {
    for (const node of nodes.slice(2)) network.isolate(node.peerId)
    const query = { pattern: EVERYTHING, projects: ['*'], after: '', limit: 10 }
    expect(await nodes[0]!.search.find(query)).toMatchObject({ partial: true })
    network.heal(nodes[2]!.peerId)
    expect(await nodes[0]!.search.find(query)).toMatchObject({ partial: false })
  })

  it('refuses what is no search', async () => {
    const query = { pattern: 'bzzz://a@b/*/c', projects: ['*'], after: '', limit: 10 }
    await expect(nodes[0]!.search.find(query)).rejects.toBeInstanceOf(InvalidAddressError)
  })
})
