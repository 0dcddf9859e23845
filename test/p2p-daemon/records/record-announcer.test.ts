import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { ANNOUNCE_ALL_DELAY_MS, ANNOUNCE_REST_MS } from '../../../p2p-daemon/records/constants.ts'
import { RecordAnnouncer } from '../../../p2p-daemon/records/record-announcer.ts'
import { RecordStore } from '../../../p2p-daemon/records/record-store.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { decodeRecord, signRecord, type AddressRecord } from '../../../shared/record/record.ts'

const key = createNodeKey()
let dir: string
let store: RecordStore
let put: { name: string; version: number }[]
let announcer: RecordAnnouncer

function record(name: string, version: number): AddressRecord {
  return signRecord(
    {
      address: name,
      version,
      hash: hashBytes(Buffer.from(`${name} ${version}`)),
      sizeBytes: 1,
      mediaType: 'text/plain',
      previous: version === 1 ? null : hashBytes(Buffer.from('before')),
      author: key.peerId,
      timestampMs: 1,
    },
    key.signingKey,
  )
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  dir = mkdtempSync(join(tmpdir(), 'bzzz-announcer-'))
  store = new RecordStore(join(dir, 'records.db'))
  put = []
  const dht = {
    putRecord: (name: string, bytes: Uint8Array) => {
      put.push({ name, version: decodeRecord(bytes).version })
      return Promise.resolve()
    },
  }
  const peers = { coordinators: (name: string) => [name.includes('theirs') ? 'x' : key.peerId] }
  const log = createSilentLogger()
  announcer = new RecordAnnouncer({ dht, store, peers, log }, { selfId: key.peerId })
})

afterEach(async () => {
  await announcer.stop()
  vi.useRealTimers()
  store.close()
  rmSync(dir, { recursive: true })
})

describe('record-announcer', () => {
  it('puts a new head, and of several versions only the newest', async () => {
    await announcer.start()
    for (const version of [1, 2, 3]) {
      store.add(record('bzzz://a@p/x', version))
      announcer.announce(record('bzzz://a@p/x', version))
    }
    await vi.waitFor(() => expect(put).toEqual([{ name: 'bzzz://a@p/x', version: 3 }]))
  })

  it('puts a busy address now and then, and its last version in the end', async () => {
    await announcer.start()
    const write = (version: number): void => {
      store.add(record('bzzz://a@p/busy', version))
      announcer.announce(record('bzzz://a@p/busy', version))
    }
    write(1)
    await vi.waitFor(() => expect(put).toHaveLength(1))
    for (let version = 2; version <= 50; version += 1) write(version)
    await vi.advanceTimersByTimeAsync(ANNOUNCE_REST_MS)
    expect(put.map(({ version }) => version)).toEqual([1, 50])
  })

  it('puts all heads again some time after the start, each by its first holder only', async () => {
    const names = Array.from({ length: 450 }, (_, index) => `bzzz://a@p/${index}`)
    for (const name of names) store.add(record(name, 1))
    store.add(record('bzzz://a@p/theirs', 1))
    await announcer.start()
    await vi.advanceTimersByTimeAsync(ANNOUNCE_ALL_DELAY_MS - 1)
    expect(put).toEqual([])
    await vi.advanceTimersByTimeAsync(20_000)
    expect(put.map(({ name }) => name).toSorted()).toEqual(names.toSorted())
  })
})
