import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { FilePrices } from '../../../../functions/llm-proxy/cost/prices.ts'
import { DaemonRecorder } from '../../../../functions/llm-proxy/exchanges/daemon-recorder.ts'
import type {
  ExchangeCall,
  ExchangeEnd,
  RecordingMode,
} from '../../../../functions/llm-proxy/exchanges/recorder.ts'
import { parseRecordingRules } from '../../../../functions/llm-proxy/exchanges/recording-rules.ts'
import { hashBytes } from '../../../../shared/blob/hash.ts'
import { DaemonClient } from '../../../../shared/daemon/daemon-client.ts'
import { decodeExchanges, type Exchange } from '../../../../shared/llm/exchange.ts'
import { NO_USAGE } from '../../../../shared/llm/model-usage.ts'
import type { UsageRow } from '../../../../shared/llm/usage-row.ts'
import { createSilentLogger } from '../../../../shared/log/log.ts'
import { Registry } from '../../../../shared/metrics/metrics.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../../helpers/memory-daemon.ts'

const log = createSilentLogger()
const MiB = 1024 * 1024

let node: MemoryDaemon
let daemon: DaemonClient
let token: string
const running: DaemonRecorder[] = []

beforeEach(async () => {
  node = await startMemoryDaemon({ putBytesMax: 64 * MiB })
  daemon = new DaemonClient({ endpoints: [node.url] })
  token = await node.tokens.create({ role: 'agent', projects: ['apollo'] })
})

afterEach(async () => {
  await Promise.all(running.splice(0).map((recorder) => recorder.stop()))
  await daemon.close()
  await node.close()
})

interface Init {
  bytesMax?: number
  rules?: { default?: RecordingMode; redact?: object[] }
  client?: Pick<DaemonClient, 'putBlobs' | 'putBlob' | 'putNamed' | 'putAddress'>
}

async function start({ bytesMax = 8 * MiB, rules = {}, client = daemon }: Init = {}) {
  const registry = new Registry()
  const rows: UsageRow[] = []
  const prices = new FilePrices({ log }, {})
  const parsed = parseRecordingRules(JSON.stringify(rules))
  const usage = { record: (row: UsageRow) => void rows.push(row) }
  const recorder = new DaemonRecorder(
    { daemon: client, prices, rules: () => parsed, usage, log, registry },
    { bytesMax },
  )
  running.push(recorder)
  await recorder.start()
  return { recorder, rows, registry, prices }
}

function call(given: Partial<ExchangeCall> = {}): ExchangeCall {
  const scope = {
    ...{ tokenId: 't', subject: 'ada', project: 'apollo', agent: 'coder', model: 'gpt-4o' },
  }
  return {
    ...{ scope, token, method: 'POST', path: '/v1/chat/completions' },
    ...{ requestBody: Buffer.from('{"q":1}'), requestMediaType: 'application/json' },
    ...given,
  }
}

const usage = { ...NO_USAGE, inputTokens: 10, outputTokens: 2 }

function end(given: Partial<ExchangeEnd> = {}): ExchangeEnd {
  return {
    ...{ status: 200, mediaType: 'text/event-stream', outcome: 'complete', model: 'gpt-4o' },
    ...{ usage, cost: null, upstream: 'openai', peer: null, cached: false },
    timings: { firstByteMs: 1.5, totalMs: 12 },
    ...given,
  }
}

const read = async (hash: string): Promise<Buffer> => {
  const answer = await daemon.getBlob(hash, { token })
  return Buffer.from(await answer.body.arrayBuffer())
}

/** What an address leads to, as anybody would read it. */
async function find(address: string | null): Promise<Exchange | undefined> {
  const [name = '', id] = address!.split('#')
  const { record } = await daemon.resolve(name, { token })
  return decodeExchanges(await read(record.hash)).find((exchange) => exchange.id === id)
}

const untilFound = (address: string | null) =>
  expect.poll(() => find(address).catch(() => undefined), { timeout: 60_000 }).toBeDefined()

async function metric(registry: Registry, name: string): Promise<string> {
  return registry.getSingleMetricAsString(name)
}

describe('daemon-recorder', () => {
  it('stores the bytes of both sides under the address that it gave out', async () => {
    const { recorder, rows, prices } = await start()
    const recording = recorder.begin(call())
    expect(recording.address).toMatch(
      /^bzzz:\/\/coder@apollo\/exchanges\/[0-9a-f-]{36}#[0-9a-f-]{36}$/,
    )
    const pieces = ['data: {"a":1}\n\n', ': ping\n\n', 'x'.repeat(9_000), 'data: [DONE]\n\n']
    for (const piece of pieces) recording.chunk(Buffer.from(piece))
    const cost = prices.cost('gpt-4o', usage)
    recording.end(end({ cost, peer: 'peer-1' }))
    recording.end(end({ status: 500 }))
    await untilFound(recording.address)
    const exchange = (await find(recording.address))!
    expect(exchange).toMatchObject({
      ...{ status: 200, outcome: 'complete', peer: 'peer-1', withheld: null },
      ...{ usage, costNanoUsd: String(cost.nanoUsd), priceMap: prices.hash },
    })
    expect(await read(exchange.request!.hash)).toEqual(Buffer.from('{"q":1}'))
    expect(await read(exchange.response!.hash)).toEqual(Buffer.from(pieces.join('')))
    expect(hashBytes(await read(exchange.priceMap))).toBe(prices.hash)
    expect(rows).toMatchObject([{ id: recording.id, exchange: recording.address, usage }])
  })

  it('puts what begins together under one address, each whenever it ends', async () => {
    const { recorder } = await start()
    const [first, second, other] = [
      recorder.begin(call()),
      recorder.begin(call()),
      recorder.begin(call({ scope: { ...call().scope, agent: 'tester' } })),
    ]
    const nameOf = ({ address }: { address: string | null }) => address?.split('#')[0]
    expect(nameOf(first)).toBe(nameOf(second))
    expect(nameOf(first)).not.toBe(nameOf(other))
    second.end(end())
    await untilFound(second.address)
    expect(await find(first.address)).toBeUndefined()
    first.end(end({ outcome: 'cut' }))
    other.end(end({ outcome: 'failed', status: 502, usage: null }))
    await untilFound(first.address)
    await untilFound(other.address)
    expect(await find(first.address)).toMatchObject({ outcome: 'cut', response: null })
    expect(await find(second.address)).toMatchObject({ outcome: 'complete' })
  })

  it('keeps metadata alone, or nothing, where the project says so', async () => {
    const metadata = await start({ rules: { default: 'metadata' } })
    const recording = metadata.recorder.begin(call())
    recording.chunk(Buffer.from('canary'))
    recording.end(end())
    await untilFound(recording.address)
    const kept = { request: null, response: null, withheld: 'mode', usage }
    expect(await find(recording.address)).toMatchObject(kept)
    const off = await start({ rules: { default: 'off' } })
    const none = off.recorder.begin(call())
    expect(none.address).toBeNull()
    none.end(end())
    expect(off.rows).toMatchObject([{ exchange: null, usage }])
  })

  it('takes out what rules name before anything is stored, and says so', async () => {
    const redact = [{ pattern: 'canary' }, { path: 'q', in: 'request' }]
    const { recorder } = await start({ rules: { redact } })
    const recording = recorder.begin(call())
    recording.chunk(Buffer.from('data: "canary"\n\n'))
    recording.end(end())
    const binary = recorder.begin(call({ requestBody: Buffer.from([0xff, 0x00]) }))
    binary.end(end())
    await untilFound(binary.address)
    const exchange = (await find(recording.address))!
    expect(exchange).toMatchObject({ request: { redacted: true }, response: { redacted: true } })
    expect((await read(exchange.request!.hash)).toString()).toBe('{"q":"[redacted]"}')
    expect((await read(exchange.response!.hash)).toString()).toBe('data: "[redacted]"\n\n')
    expect(await find(binary.address)).toMatchObject({ withheld: 'not-text', request: null })
    for await (const { hash } of node.store.list({})) {
      expect((await read(hash)).toString()).not.toContain('canary')
    }
  })

  it('stores bodies of any size up to its bound', async () => {
    const { recorder } = await start({ bytesMax: 64 * MiB })
    const large = Buffer.alloc(3 * MiB, 'abc')
    const recording = recorder.begin(call({ requestBody: large }))
    for (let from = 0; from < large.length; from += 65_536) {
      recording.chunk(large.subarray(from, from + 65_536))
    }
    recording.end(end())
    const endless = recorder.begin(call())
    for (let piece = 0; piece < 12; piece += 1) endless.chunk(large)
    endless.end(end())
    await untilFound(endless.address)
    const hash = hashBytes(large)
    expect(await find(recording.address)).toMatchObject({ request: { hash }, response: { hash } })
    expect(await find(endless.address)).toMatchObject({ withheld: 'too-large', response: null })
  })

  it('drops to metadata when its memory is full, and has it again afterwards', async () => {
    const { recorder, registry } = await start({ bytesMax: 1_000 })
    const first = recorder.begin(call())
    first.chunk(Buffer.alloc(900))
    const second = recorder.begin(call())
    second.chunk(Buffer.alloc(900))
    for (const one of [first, second]) one.end(end())
    await untilFound(first.address)
    await untilFound(second.address)
    expect(await find(first.address)).toMatchObject({ withheld: null })
    expect(await find(second.address)).toMatchObject({ withheld: 'overload', usage })
    const withheld = await metric(registry, 'bzzz_llm_exchanges_withheld_total')
    expect(withheld).toContain('{reason="overload"} 1')
    await expect.poll(() => metric(registry, 'bzzz_llm_exchanges_bytes')).toMatch(/ 0\n?$/)
    const third = recorder.begin(call())
    third.chunk(Buffer.alloc(900))
    third.end(end())
    await untilFound(third.address)
    expect(await find(third.address)).toMatchObject({ withheld: null })
  })

  it('waits for a daemon that is away, and never makes a call wait', async () => {
    let away = true
    let refused = 0
    const client = {
      putBlobs: daemon.putBlobs.bind(daemon),
      putNamed: (...given: Parameters<DaemonClient['putNamed']>) => {
        if (!away) return daemon.putNamed(...given)
        refused += 1
        return Promise.reject(new Error('ECONNREFUSED'))
      },
      putBlob: daemon.putBlob.bind(daemon),
      putAddress: daemon.putAddress.bind(daemon),
    }
    const { recorder, registry } = await start({ client })
    const recordings = Array.from({ length: 5 }, () => recorder.begin(call()))
    for (const recording of recordings) recording.end(end())
    await expect.poll(() => refused, { timeout: 60_000 }).toBeGreaterThan(0)
    expect(await find(recordings[0]!.address).catch(() => 'nothing')).toBe('nothing')
    away = false
    for (const { address } of recordings) await untilFound(address)
    expect(await metric(registry, 'bzzz_llm_exchanges_total')).toContain('{kept="full"} 5')
  })

  it('gives up what the token of the caller may not write', async () => {
    const { recorder, registry } = await start()
    const viewer = await node.tokens.create({ role: 'viewer' })
    const refused = recorder.begin(call({ token: viewer }))
    refused.end(end())
    const good = recorder.begin(call())
    good.end(end())
    await untilFound(good.address)
    await expect
      .poll(() => metric(registry, 'bzzz_llm_exchanges_total'))
      .toContain('{kept="refused"} 1')
  })

  it('stores what waits before it stops', async () => {
    const { recorder } = await start()
    const recording = recorder.begin(call())
    recording.end(end())
    await recorder.stop()
    expect(await find(recording.address)).toBeDefined()
  })
})
