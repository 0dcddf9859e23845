import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { SYSTEM_CLOCK } from '../../../p2p-daemon/clock.ts'
import { rootKey, type ProviderKey } from '../../../p2p-daemon/dht/keys.ts'
import { ProviderStore } from '../../../p2p-daemon/dht/provider-store.ts'
import { RootAnnouncer } from '../../../p2p-daemon/dht/root-announcer.ts'
import { RecordStore } from '../../../p2p-daemon/records/record-store.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { recordHash, type AddressRecord } from '../../../shared/record/record.ts'
import { THREAD_MEDIA_TYPE } from '../../../shared/thread/head.ts'
import { until } from '../../helpers/mesh.ts'
import { makeRecord } from '../../helpers/record.ts'

let provided: ProviderStore
let records: RecordStore
let blobs: MemoryStore
let announcer: RootAnnouncer

beforeEach(async () => {
  provided = new ProviderStore(':memory:')
  records = new RecordStore(':memory:')
  blobs = new MemoryStore()
  await blobs.start()
  const provider = {
    provide: (key: ProviderKey) => provided.add(key),
    withdraw: (key: ProviderKey) => void provided.remove(key),
  }
  const log = createSilentLogger()
  const clock = SYSTEM_CLOCK
  const parts = { provider, provided, records, blobs, log, clock }
  announcer = new RootAnnouncer(parts, { restMs: 20 })
  await announcer.start()
})

afterEach(async () => {
  await announcer.stop()
  provided.close()
  records.close()
})

function record(text: string): AddressRecord {
  const hash = hashBytes(Buffer.from(text))
  return makeRecord({ address: `bzzz://agent@project/${text}`, hash })
}

const isProvided = (text: string): boolean => provided.has(rootKey(hashBytes(Buffer.from(text))))

describe('root-announcer', () => {
  it('announces what a record points at when it is here, and only then', async () => {
    await blobs.put(Buffer.from('here'))
    announcer.onRecord(record('elsewhere'))
    announcer.onRecord(record('here'))
    await until(() => isProvided('here'), 'the announcement')
    expect(isProvided('elsewhere')).toBe(false)
  })

  it('withdraws what is deleted', async () => {
    await blobs.put(Buffer.from('here'))
    announcer.onRecord(record('here'))
    await until(() => isProvided('here'), 'the announcement')
    announcer.onDeleted(hashBytes(Buffer.from('here')))
    expect(isProvided('here')).toBe(false)
  })

  it('announces of a thread the newest head alone', async () => {
    const address = 'bzzz://agent@project/thread'
    const version = async (
      text: string,
      previous: AddressRecord | null,
    ): Promise<AddressRecord> => {
      const { hash } = await blobs.put(Buffer.from(text))
      const fields = { hash, mediaType: THREAD_MEDIA_TYPE, version: (previous?.version ?? 0) + 1 }
      const next = makeRecord({ address, ...fields, previous: previous && recordHash(previous) })
      records.add(next)
      announcer.onRecord(next)
      await until(() => isProvided(text), `the announcement of ${text}`)
      return next
    }
    const first = await version('first', null)
    await version('second', first)
    expect(isProvided('first')).toBe(false)
    await announcer.pass()
    expect(isProvided('first')).toBe(false)
    expect(isProvided('second')).toBe(true)
  })

  it('finds in a pass what came and went without a word', async () => {
    for (let n = 0; n < 450; n += 1) {
      records.add(record(`text ${n}`.replace(' ', '-')))
      if (n % 2 === 0) await blobs.put(Buffer.from(`text-${n}`))
    }
    await announcer.pass()
    expect(provided.count('root')).toBe(225)
    for (let n = 0; n < 450; n += 4) await blobs.delete(hashBytes(Buffer.from(`text-${n}`)))
    await announcer.pass()
    expect(provided.count('root')).toBe(112)
    expect(isProvided('text-2')).toBe(true)
    expect(isProvided('text-4')).toBe(false)
  })
})
