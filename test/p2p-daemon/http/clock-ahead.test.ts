import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { recordHash, signRecord } from '../../../shared/record/record.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

const ADDRESS = 'bzzz://writer@clocks/note'
const THREE_DAYS_SECONDS = 3 * 86_400

let daemon: MemoryDaemon

beforeEach(async () => {
  daemon = await startMemoryDaemon()
})

afterEach(async () => {
  await daemon.close()
})

/** A record as a node with another clock would have made it. */
function put(aheadSeconds: number) {
  const { peerId, signingKey } = createNodeKey()
  const record = signRecord(
    {
      address: ADDRESS,
      version: 1,
      hash: hashBytes(Buffer.from('content')),
      sizeBytes: 7,
      mediaType: 'text/plain',
      previous: null,
      author: peerId,
      timestampMs: Date.now() + aheadSeconds * 1000,
    },
    signingKey,
  )
  daemon.records.add(record)
  return record
}

async function resolve() {
  const url = `${daemon.url}/v1/resolve?address=${encodeURIComponent(ADDRESS)}`
  const answer = await fetch(url, {
    headers: { authorization: `Bearer ${await daemon.tokens.create()}` },
  })
  const { record } = (await answer.json()) as { record: { record: string } }
  return { hash: record.record, ahead: answer.headers.get('bzzz-clock-ahead') }
}

describe('a record from the future', () => {
  it('is served with a mark that says how far', async () => {
    const record = put(THREE_DAYS_SECONDS)
    const { hash, ahead } = await resolve()
    expect(hash).toBe(recordHash(record))
    expect(Number(ahead)).toBeGreaterThan(THREE_DAYS_SECONDS - 600)
    expect(Number(ahead)).toBeLessThanOrEqual(THREE_DAYS_SECONDS)
  })

  it('carries none where the clocks differ by no more than clocks do', async () => {
    put(10)
    expect((await resolve()).ahead).toBeNull()
  })
})
