import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import {
  encodeExchanges,
  EXCHANGES_MEDIA_TYPE,
  type Exchange,
} from '../../../shared/llm/exchange.ts'
import {
  createLifetimeNode,
  keepRecord,
  ManualClock,
  recordOf,
  type LifetimeNode,
} from '../../helpers/lifetime-node.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'

const GRACE_MS = 86_400_000

let clock: ManualClock
let node: LifetimeNode

beforeEach(() => {
  clock = new ManualClock()
  node = createLifetimeNode(new MemoryNetwork(), { peerId: 'a', clock, graceMs: GRACE_MS })
})

afterEach(() => node.close())

const put = async (text: string): Promise<string> => (await node.store.put(Buffer.from(text))).hash

const has = async (hash: string): Promise<boolean> => (await node.store.stat(hash)) !== undefined

async function keep(content: Buffer): Promise<void> {
  const { hash } = await node.store.put(content)
  await keepRecord(node, { ...recordOf(content), hash, mediaType: EXCHANGES_MEDIA_TYPE })
}

async function collectTwice(): Promise<void> {
  await node.lifetime.collector.collect({ dryRun: false }).done
  clock.nowMs += GRACE_MS
  await node.lifetime.collector.collect({ dryRun: false }).done
}

function exchange(request: string, response: string, priceMap: string): Exchange {
  const body = (hash: string) => ({ hash, sizeBytes: 1, mediaType: 'text/plain', redacted: false })
  return {
    ...{ id: '019ab5c2-0000-7000-8000-000000000000', at: '2026-11-23T18:00:00.000Z' },
    ...{ tokenId: 't', subject: 's', project: 'apollo', agent: 'coder', method: 'POST' },
    ...{ path: '/v1/chat/completions', model: 'm', servedModel: 'm', upstream: 'u', peer: null },
    ...{ status: 200, outcome: 'complete', cached: false, usage: null, withheld: null },
    ...{ request: body(request), response: body(response) },
    ...{ costNanoUsd: '0', priced: true, priceMap, firstByteMs: null, totalMs: 1 },
  }
}

describe('exchange-roots', () => {
  it('keep the bodies and the prices of recorded calls, and nothing else', async () => {
    const [request, response, prices, garbage] = [
      ...[await put('request'), await put('response'), await put('prices'), await put('garbage')],
    ] as [string, string, string, string]
    await keep(encodeExchanges([exchange(request, response, prices)]))
    await collectTwice()
    expect(await Promise.all([request, response, prices, garbage].map(has))).toEqual([
      ...[true, true, true, false],
    ])
  })

  it('name nothing where a content only has their media type', async () => {
    const garbage = await put('garbage')
    await keep(Buffer.from(`{"request":{"hash":"${garbage}"}}`))
    await collectTwice()
    expect(await has(garbage)).toBe(false)
  })
})
