import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { LOG_FOLLOWERS_MAX, LOG_LINES_MAX, LOG_WAITING_MAX } from '../../../gateway/constants.ts'
import { FunctionLogs, type LogLine } from '../../../gateway/logs/function-logs.ts'
import type { DeployedFunction } from '../../../gateway/providers/provider.ts'
import { logRoutes } from '../../../gateway/system/log-routes.ts'
import { createService } from '../../../shared/http/service.ts'
import { createSilentLogger, type Logger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'

let logs: FunctionLogs
let log: Logger
let written: string[]

beforeEach(() => {
  written = []
  logs = new FunctionLogs({ log: pino({}, { write: (line) => void written.push(line) }) })
  log = logs.logger('echo')
})

function messageOf({ text }: { text: string }): string {
  return (JSON.parse(text) as { msg: string }).msg
}

async function messagesOf(lines: AsyncIterable<LogLine>): Promise<string[]> {
  const messages: string[] = []
  for await (const line of lines) messages.push(messageOf(line))
  return messages
}

describe('function-logs', () => {
  it('keeps what a function writes, and passes it on with its name', async () => {
    log.info('one')
    logs.logger('other').info('two')
    log.child({ more: 1 }).warn('three')
    expect(await messagesOf(logs.read('echo', {}))).toEqual(['one', 'three'])
    expect(written.map((line) => JSON.parse(line) as object)).toEqual([
      expect.objectContaining({ function: 'echo', msg: 'one' }),
      expect.objectContaining({ function: 'other', msg: 'two' }),
      expect.objectContaining({ function: 'echo', msg: 'three', more: 1 }),
    ])
  })

  it('writes no credential, like every log', () => {
    log.info({ token: 'bzzz_x', nested: { password: 'y' } }, 'told')
    expect(written.join()).not.toMatch(/bzzz_x|"y"/)
  })

  it('gives the last ones, or those since a moment', async () => {
    for (const message of ['one', 'two', 'three']) log.info(message)
    expect(await messagesOf(logs.read('echo', { tail: 2 }))).toEqual(['two', 'three'])
    expect(await messagesOf(logs.read('echo', { tail: 0 }))).toEqual([])
    expect(await messagesOf(logs.read('echo', { tail: 9 }))).toHaveLength(3)
    const later = new Date(Date.now() + 60_000)
    expect(await messagesOf(logs.read('echo', { since: later }))).toEqual([])
    expect(await messagesOf(logs.read('echo', { since: new Date(0) }))).toHaveLength(3)
  })

  it('keeps no more than its bounds, and the newest', async () => {
    for (let at = 0; at < LOG_LINES_MAX + 5; at += 1) log.info(`line ${at}`)
    const kept = await messagesOf(logs.read('echo', {}))
    expect(kept).toHaveLength(LOG_LINES_MAX)
    expect(kept.at(-1)).toBe(`line ${LOG_LINES_MAX + 4}`)
    for (let at = 0; at < 3; at += 1) log.info('x'.repeat(500_000))
    expect((await messagesOf(logs.read('echo', {}))).length).toBeLessThan(5)
  })

  it('tells a reader that is too slow how much it missed', async () => {
    const stop = new AbortController()
    const lines = logs.read('echo', { follow: stop.signal })[Symbol.asyncIterator]()
    for (let at = 0; at < LOG_WAITING_MAX + 3; at += 1) log.info(`line ${at}`)
    const first = (await lines.next()).value as LogLine
    expect(first.text).toBe('3 lines are left out: they came faster than they were read.')
    expect(messageOf((await lines.next()).value as LogLine)).toBe('line 3')
    stop.abort()
    expect((await lines.next()).done).toBe(true)
  })

  it('lets in no more readers than its bound, and others when one has left', async () => {
    const readers = Array.from({ length: LOG_FOLLOWERS_MAX }, () => {
      const stop = new AbortController()
      return { stop, lines: logs.read('echo', { follow: stop.signal }) }
    })
    const more = () => logs.read('echo', { follow: new AbortController().signal })
    expect(more).toThrow('readers follow')
    const [{ stop, lines }] = readers as [(typeof readers)[number]]
    const ended = messagesOf(lines)
    stop.abort()
    expect(await ended).toEqual([])
    expect(more).not.toThrow()
  })
})

describe('log-routes', () => {
  let app: FastifyInstance
  let url: string

  beforeEach(async () => {
    app = await serve(logs)
    url = await app.listen({ host: '127.0.0.1', port: 0 })
  })
  afterEach(() => app.close())

  async function serve(given: FunctionLogs | null) {
    const service = createService({ log: createSilentLogger(), registry: new Registry() })
    const find = (name: string, namespace: string) =>
      `${name}.${namespace}` === 'echo.openfaas-fn' ? ({} as DeployedFunction) : undefined
    await service.register(logRoutes, { provider: { find }, logs: given, instance: 'host-1' })
    return service
  }

  const linesOf = (text: string) =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, string>)

  it('answers a JSON object a line, in the fields of faas-cli', async () => {
    log.info('one')
    log.info('two')
    const answer = await fetch(`${url}/system/logs?follow=false&name=echo&tail=-1`)
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson')
    const lines = linesOf(await answer.text())
    expect(lines).toEqual([
      {
        name: 'echo',
        namespace: 'openfaas-fn',
        instance: 'host-1',
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as unknown,
        text: expect.stringContaining('"msg":"one"') as unknown,
      },
      expect.objectContaining({ text: expect.stringContaining('"msg":"two"') as unknown }),
    ])
  })

  it.each([
    ['name=echo.openfaas-fn&tail=1', 1],
    ['name=echo&namespace=openfaas-fn&since=2020-01-01T00:00:00Z', 2],
    ['name=echo&since=2100-01-01T00:00:00%2B02:00', 0],
    ['name=echo&instance=host-1', 2],
    ['name=echo&instance=elsewhere&follow=true', 0],
  ])('understands %s', async (query, count) => {
    log.info('one')
    log.info('two')
    const answer = await fetch(`${url}/system/logs?${query}`)
    expect(linesOf(await answer.text())).toHaveLength(count)
  })

  it.each([
    ['name=nobody', 404],
    ['name=echo&namespace=elsewhere', 404],
    ['', 400],
    ['name=echo&since=yesterday', 400],
    ['name=echo&tail=x', 400],
  ])('answers %s with %i', async (query, status) => {
    expect((await fetch(`${url}/system/logs?${query}`)).status).toBe(status)
  })

  it('goes on with new lines for as long as the reader stays', async () => {
    const leaving = new AbortController()
    const { signal } = leaving
    const answer = await fetch(`${url}/system/logs?follow=true&name=echo`, { signal })
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    // The headers and an empty line come before there is anything to tell.
    expect((await reader.read()).value).toBe('\n')
    log.info('new')
    expect(linesOf((await reader.read()).value!)).toEqual([
      expect.objectContaining({ text: expect.stringContaining('"msg":"new"') as unknown }),
    ])
    for (let other = 1; other < LOG_FOLLOWERS_MAX; other += 1) {
      logs.read('echo', { follow: new AbortController().signal })
    }
    expect(() => logs.read('echo', { follow: signal })).toThrow('readers follow')
    leaving.abort()
    await expect(reader.read()).rejects.toThrow()
    // Its place is free again.
    const follow = new AbortController().signal
    await vi.waitFor(() => logs.read('echo', { follow }), { timeout: 30_000 })
  })

  it('says so where a platform has the logs', async () => {
    const elsewhere = await serve(null)
    const answer = await elsewhere.inject('/system/logs?name=echo')
    expect(answer.statusCode).toBe(501)
    expect(answer.json()).toMatchObject({ error: { code: 'BZZZ_NOT_SUPPORTED' } })
    await elsewhere.close()
  })
})
