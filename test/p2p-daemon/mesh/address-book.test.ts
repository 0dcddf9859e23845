import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { AddressBook } from '../../../p2p-daemon/mesh/address-book.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'bzzz-book-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

function createBook(isKept: (peerId: string) => boolean = () => true): AddressBook {
  return new AddressBook({ log: createSilentLogger(), isKept }, { dataDir })
}

describe('address-book', () => {
  it('remembers over a restart, newest first', async () => {
    const book = createBook()
    book.add('a', ['/ip4/10.0.0.1/tcp/1'])
    book.add('a', ['/ip4/10.0.0.2/tcp/2', '/ip4/10.0.0.1/tcp/1'])
    await book.close()
    const later = createBook()
    await later.load()
    expect(later.addressesOf('a')).toEqual(['/ip4/10.0.0.2/tcp/2', '/ip4/10.0.0.1/tcp/1'])
    expect(await readdir(join(dataDir, 'dht'))).toEqual(['peers.json'])
  })

  it('keeps the eight newest addresses and nothing that is none', () => {
    const book = createBook()
    for (let n = 1; n <= 20; n += 1) book.add('a', [`/ip4/10.0.0.1/tcp/${n}`, 'rubbish', ''])
    const ports = book.addressesOf('a').map((address) => Number(address.split('/').at(-1)))
    expect(ports).toEqual([20, 19, 18, 17, 16, 15, 14, 13])
  })

  it('takes and writes only peers that may be here', async () => {
    const allowed = new Set(['a', 'b'])
    const book = createBook((peerId) => allowed.has(peerId))
    for (const peerId of ['a', 'b', 'stranger']) book.add(peerId, ['/ip4/10.0.0.1/tcp/1'])
    expect(book.addressesOf('stranger')).toEqual([])
    allowed.delete('b')
    await book.close()
    const { peers } = JSON.parse(await readFile(join(dataDir, 'dht', 'peers.json'), 'utf8')) as {
      peers: Record<string, string[]>
    }
    expect(Object.keys(peers)).toEqual(['a'])
  })

  it.each(['', '{', '{"peers": 7}', '[]'])('starts empty when its file holds %j', async (text) => {
    await mkdir(join(dataDir, 'dht'))
    await writeFile(join(dataDir, 'dht', 'peers.json'), text)
    const book = createBook()
    await book.load()
    expect(book.addressesOf('a')).toEqual([])
  })
})
