import { describe, expect, it } from 'vitest'

import { EventLog, type EventLogInit } from '../../../p2p-daemon/events/event-log.ts'
import { EVENT_TYPES, parseTypes } from '../../../p2p-daemon/events/event.ts'
import { InvalidRequestError } from '../../../shared/errors.ts'

function create(count: number, init: Partial<EventLogInit> = {}) {
  const log = new EventLog({ epoch: 'e1', keptMax: 4, ...init })
  for (let number = 1; number <= count; number += 1) {
    log.append({ type: 'peer.joined', project: null, data: { number } })
  }
  return log
}

const positions = (log: EventLog, after: number, limit = 100): number[] | undefined =>
  log.read(after, limit)?.map(({ position }) => position)

describe('event log', () => {
  it('keeps the newest events and says when older ones are asked for', () => {
    const log = create(10)
    expect(positions(log, 6)).toEqual([7, 8, 9, 10])
    expect(positions(log, 6, 2)).toEqual([7, 8])
    expect(positions(log, 10)).toEqual([])
    expect(positions(log, 5)).toBeUndefined()
    expect(positions(create(0), 0)).toEqual([])
  })

  it('is bounded by bytes too', () => {
    const log = create(0, { keptMax: 1_000, keptBytesMax: 10_000 })
    const text = 'x'.repeat(1_000)
    for (let count = 0; count < 100; count += 1) {
      log.append({ type: 'peer.joined', project: null, data: { text } })
    }
    expect(positions(log, 91)).toHaveLength(9)
    expect(positions(log, 90)).toBeUndefined()
  })

  it('makes frames that an EventSource reads, whatever is in them', () => {
    const log = create(0)
    log.append({ type: 'agent.changed', project: 'p', data: { text: 'a\nb\r\n\u2028data: x' } })
    const [event] = log.read(0, 1)!
    const lines = event!.frame.split(/\r\n|\n|\r/)
    expect(lines).toHaveLength(5)
    expect(lines.slice(0, 2)).toEqual(['event: agent.changed', 'id: e1-1'])
    expect(JSON.parse(lines[2]!.slice('data: '.length))).toEqual({
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      text: 'a\nb\r\n\u2028data: x',
    })
  })

  it.each([
    ['nothing', undefined, { position: 10, gap: null }],
    ['the newest', 'e1-10', { position: 10, gap: null }],
    ['one that is kept', 'e1-7', { position: 7, gap: null }],
    ['the one before the oldest', 'e1-6', { position: 6, gap: null }],
    ['one whose next is gone', 'e1-5', { position: 6, gap: 'overwritten' }],
    ['one of another run', 'e0-8', { position: 6, gap: 'restarted' }],
    ['one that never was', 'e1-11', { position: 6, gap: 'unknown' }],
    ['something else', '../7', { position: 6, gap: 'unknown' }],
    ['a number that is none', 'e1-99999999999999999999', { position: 6, gap: 'unknown' }],
  ])('resumes after %s', (_what, id, resumption) => {
    expect(create(10).resume(id)).toEqual(resumption)
  })

  it('wakes readers with an event, the end of their time or their leaving', async () => {
    const log = create(1)
    const never = new AbortController()
    await log.changed(0, 3_600_000, never.signal)
    const waiting = log.changed(1, 3_600_000, never.signal)
    log.append({ type: 'peer.left', project: null, data: {} })
    await waiting
    await log.changed(2, 1, never.signal)
    const leaving = log.changed(2, 3_600_000, never.signal)
    never.abort()
    await leaving
    expect(log.last).toBe(2)
  })
})

describe('types of events', () => {
  it('are named one by one or by their kind', () => {
    expect([...parseTypes(undefined)]).toEqual(EVENT_TYPES)
    expect([...parseTypes('peer.*, record.written')]).toEqual([
      'peer.joined',
      'peer.left',
      'record.written',
    ])
  })

  it.each(['', 'peer', 'peer.', 'nothing.*', '*', 'peer.joined,'])('are not %j', (text) => {
    expect(() => parseTypes(text)).toThrow(InvalidRequestError)
  })
})
