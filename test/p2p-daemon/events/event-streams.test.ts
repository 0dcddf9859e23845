import { setImmediate as turn } from 'node:timers/promises'

import { describe, expect, it, onTestFinished } from 'vitest'

import { EVENTS_PER_WRITE_MAX } from '../../../p2p-daemon/events/constants.ts'
import { EventLog } from '../../../p2p-daemon/events/event-log.ts'
import {
  EventStreams,
  type EventStreamsInit,
  type StreamRequest,
} from '../../../p2p-daemon/events/event-streams.ts'
import { OverloadedError } from '../../../shared/errors.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { until } from '../../helpers/mesh.ts'

async function create(init: EventStreamsInit & { keptMax?: number } = {}) {
  const { keptMax = 1_000, ...streamsInit } = init
  const log = new EventLog({ epoch: 'e1', keptMax })
  const registry = new Registry()
  const streams = new EventStreams({ log, registry }, streamsInit)
  await streams.start()
  onTestFinished(() => streams.stop())
  const cuts: string[] = []
  const open = (more: Partial<StreamRequest> = {}) =>
    streams.open({
      tokenId: 'token',
      lastEventId: undefined,
      accepts: () => true,
      isAllowed: () => true,
      signal: new AbortController().signal,
      cut: () => void cuts.push('cut'),
      ...more,
    })
  const append = (count: number): void => {
    for (let number = 0; number < count; number += 1) {
      log.append({ type: 'peer.joined', project: null, data: { number } })
    }
  }
  const openCount = async (): Promise<number> =>
    (await registry.getSingleMetric('bzzz_event_streams')!.get()).values[0]!.value
  return { log, streams, registry, open, append, cuts, openCount }
}

/** Reads a body until `isEnough`, as a reader that keeps up. */
async function read(body: AsyncIterable<unknown>, isEnough: (text: string) => boolean) {
  let text = ''
  for await (const chunk of body) {
    text += String(chunk)
    if (isEnough(text)) break
  }
  return text
}

const ids = (text: string): string[] => text.match(/^id: .*$/gm) ?? []

describe('event streams', () => {
  it('begin where the reader is and lose nothing in between', async () => {
    const { open, append } = await create()
    append(3)
    const count = 3 * EVENTS_PER_WRITE_MAX
    const body = open({ lastEventId: 'e1-1' })
    setImmediate(() => append(count))
    const text = await read(body, (all) => ids(all).length === count + 3)
    const numbers = Array.from({ length: count + 3 }, (_, index) => `id: e1-${index + 1}`)
    expect(text.startsWith('retry: 1000\nid: e1-1\n\nevent: peer.joined\nid: e1-2\n')).toBe(true)
    expect(ids(text)).toEqual(numbers)
  })

  it('say what is missing before anything else', async () => {
    const { open, append } = await create({ keptMax: 2 })
    append(5)
    const text = await read(open({ lastEventId: 'e1-1' }), (all) => ids(all).length === 3)
    const [first = ''] = text.split('\n\n')
    expect(first).toBe(
      'retry: 1000\nevent: gap\nid: e1-3\ndata: {"reason":"overwritten","lastEventId":"e1-1"}',
    )
    expect(ids(text)).toEqual(['id: e1-3', 'id: e1-4', 'id: e1-5'])
  })

  it('beat, and move the place to resume from past what was not for the reader', async () => {
    const { open, append } = await create({ heartbeatMs: 1 })
    const body = open({ accepts: () => false })
    setImmediate(() => append(5))
    const text = await read(body, (all) => all.includes('id: e1-5'))
    expect(text).toContain(': heartbeat\nid: e1-5\n\n')
    expect(text).not.toContain('event:')
  })

  it('end with the token', async () => {
    const { open } = await create({ heartbeatMs: 1 })
    let asked = 0
    const text = await read(open({ isAllowed: () => (asked += 1) < 3 }), () => false)
    expect(asked).toBe(3)
    expect(text.match(/heartbeat/g)).toHaveLength(2)
  })

  it('are so many and no more, and have room again when one ends', async () => {
    const { open, openCount } = await create({ streamsMax: 3, streamsPerTokenMax: 2 })
    const leaving = new AbortController()
    open({ signal: leaving.signal })
    const second = open()
    expect(() => open()).toThrow(OverloadedError)
    const other = open({ tokenId: 'other' })
    expect(() => open({ tokenId: 'third' })).toThrow(OverloadedError)
    leaving.abort()
    second.destroy()
    other.destroy()
    await until(async () => (await openCount()) === 0, 'all of them to be closed')
    expect(open()).toBeTruthy()
  })

  it('end when the node stops', async () => {
    const { open, streams } = await create()
    const body = open()
    const reading = read(body, () => false)
    await turn()
    await streams.stop()
    expect(await reading).toBe('retry: 1000\nid: e1-0\n\n')
  })

  it('cut a reader that falls behind the log, and keep nothing for it', async () => {
    const { open, append, cuts, openCount, registry } = await create({ keptMax: 100 })
    const body = open()
    await turn()
    // Nobody reads: a batch or two are taken, then the stream waits.
    append(1_000)
    await turn()
    append(1_000)
    await turn()
    expect(body.readableLength).toBeLessThanOrEqual(2)
    expect(cuts).toEqual([])
    const text = await read(body, () => false)
    expect(cuts).toEqual(['cut'])
    expect(ids(text).length).toBeLessThanOrEqual(1 + 2 * EVENTS_PER_WRITE_MAX)
    expect(await openCount()).toBe(0)
    expect(await registry.metrics()).toContain('bzzz_event_streams_cut_total{reason="overrun"} 1')
  })

  it('cut a reader that reads nothing at all', async () => {
    const { open, append, cuts, registry } = await create({ stallMs: 5 })
    const body = open()
    body.read(0)
    append(1)
    await until(() => cuts.length === 1, 'the cut')
    expect(await registry.metrics()).toContain('bzzz_event_streams_cut_total{reason="stalled"} 1')
  })
})
