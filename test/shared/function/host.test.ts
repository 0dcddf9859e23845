import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'

import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'

import { InvalidConfigError } from '../../../shared/errors.ts'
import type { FunctionContext, FunctionPlugin } from '../../../shared/function/function.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import { createSilentLogger, type Logger } from '../../../shared/log/log.ts'

const apps: FastifyInstance[] = []
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close()
})

async function serve(
  plugin: FunctionPlugin,
  env: Record<string, string> = {},
  { log = createSilentLogger(), ...init }: { drainTimeoutMs?: number; log?: Logger } = {},
) {
  const stopping = new AbortController()
  const registry = new Registry()
  const components = {
    name: 'fixture',
    env,
    secretsDirs: [],
    log,
    registry,
    signal: stopping.signal,
    version: '0.0.0',
  }
  const app = await createFunctionApp(plugin, components, init)
  apps.push(app)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, url, registry, stopping }
}

/** A handler that waits at a gate the test opens. */
function gated() {
  const gate = Promise.withResolvers<void>()
  const entered = Promise.withResolvers<void>()
  const plugin: FunctionPlugin = async (app) => {
    app.get('/', async () => {
      entered.resolve()
      await gate.promise
      return { done: true }
    })
  }
  return { plugin, open: gate.resolve, entered: entered.promise }
}

const never = () => new Promise<never>(() => undefined)

describe('function-host', () => {
  it('answers health and readiness under both families of names', async () => {
    const { url } = await serve(async () => undefined)
    for (const path of ['/_/health', '/healthz', '/_/ready', '/readyz']) {
      expect((await fetch(url + path)).status, path).toBe(200)
    }
  })

  it.each([
    ['says no', async () => false],
    ['throws', async () => Promise.reject(new Error('no route'))],
  ])('is not ready while a check %s', async (_case, check) => {
    const { url } = await serve(async (_app, context: FunctionContext) => {
      context.ready('good', async () => true)
      context.ready('daemon', check)
    })
    const answer = await fetch(`${url}/_/ready`)
    expect(answer.status).toBe(503)
    expect(await answer.json()).toEqual({
      ready: false,
      draining: false,
      checks: { good: true, daemon: false },
    })
    expect((await fetch(`${url}/_/health`)).status).toBe(200)
  })

  it('loses readiness first and still serves', async () => {
    const { url, stopping } = await serve(async (app) => {
      app.get('/', async () => 'served')
    })
    stopping.abort()
    expect((await fetch(`${url}/_/ready`)).status).toBe(503)
    expect(await (await fetch(url)).text()).toBe('served')
  })

  it('answers 429 over its limit, and serves again after', async () => {
    const { plugin, open, entered } = gated()
    const { url } = await serve(plugin, { max_inflight: '1' })
    const first = fetch(url)
    await entered
    const second = await fetch(url)
    expect(second.status).toBe(429)
    expect(second.headers.get('retry-after')).toBe('1')
    expect(await second.json()).toMatchObject({ error: { code: 'BZZZ_OVERLOADED' } })
    expect((await fetch(`${url}/_/health`)).status).toBe(200)
    open()
    expect((await first).status).toBe(200)
    expect((await fetch(url)).status).toBe(200)
  })

  it.each(['GET', 'POST'])('answers a slow %s with 504 and abandons it', async (method) => {
    const reason = Promise.withResolvers<unknown>()
    const { url, registry } = await serve(
      async (app) => {
        app.route({
          method,
          url: '/',
          handler: async (request) => {
            const { abandoned } = request
            abandoned.addEventListener('abort', () => reason.resolve(abandoned.reason))
            return never()
          },
        })
      },
      { exec_timeout: '50ms' },
    )
    const body = method === 'POST' ? '{"a":1}' : null
    const answer = await fetch(url, {
      method,
      body,
      headers: { 'content-type': 'application/json' },
    })
    expect(answer.status).toBe(504)
    expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_FUNCTION_TIMEOUT' } })
    expect(await reason.promise).toMatchObject({ code: 'BZZZ_FUNCTION_TIMEOUT' })
    expect(await registry.metrics()).toContain('bzzz_function_timeouts_total{end="answered"} 1')
  })

  it('answers 504 for a reply that was taken out of the framework', async () => {
    const { url } = await serve(
      async (app) => {
        app.get('/', (_request, reply) => void reply.hijack())
      },
      { exec_timeout: '50ms' },
    )
    const answer = await fetch(url)
    expect(answer.status).toBe(504)
    expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_FUNCTION_TIMEOUT' } })
  })

  it('lets a route choose its own time-out', async () => {
    const { plugin, open, entered } = gated()
    const { url } = await serve(
      async (app, context) => {
        app.addHook('onRoute', (route) => {
          route.config = { ...route.config, execTimeoutMs: 0 }
        })
        await plugin(app, context)
      },
      { exec_timeout: '1ms' },
    )
    const answer = fetch(url)
    await entered
    // Fifty times the function's time-out: it would have struck by now.
    await new Promise((resolve) => setTimeout(resolve, 50))
    open()
    expect((await answer).status).toBe(200)
  })

  it('answers a throw with 500 and a code, and tells nothing of it', async () => {
    const { url } = await serve(async (app) => {
      app.get('/', async () => Promise.reject(new Error('the password is hunter2')))
    })
    const answer = await fetch(url)
    const text = await answer.text()
    expect(answer.status).toBe(500)
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'BZZZ_INTERNAL' } })
    expect(text).not.toContain('hunter2')
  })

  it('cuts a stream at its time-out so that it does not look whole', async () => {
    const { url, registry } = await serve(
      async (app) => {
        app.get('/', (_request, reply) => {
          const stream = new PassThrough()
          stream.write('half of the ')
          return reply.type('application/octet-stream').send(stream)
        })
      },
      { exec_timeout: '50ms' },
    )
    const answer = await fetch(url)
    expect(answer.status).toBe(200)
    await expect(answer.text()).rejects.toThrow('terminated')
    expect(await registry.metrics()).toContain('bzzz_function_timeouts_total{end="cut"} 1')
  })

  it('tells a reader of events why before it cuts the stream', async () => {
    const { url } = await serve(
      async (app) => {
        app.get('/', (_request, reply) => {
          const stream = new PassThrough()
          stream.write('data: 1\n\n')
          return reply.type('text/event-stream').send(stream)
        })
      },
      { exec_timeout: '50ms' },
    )
    const { text, error } = await readUntilEnd(await fetch(url))
    expect(text).toMatch(/^data: 1\n\n\nevent: error\ndata: .*"BZZZ_FUNCTION_TIMEOUT".*\n\n$/)
    expect(error).toMatchObject({ message: 'terminated' })
  })

  it('breaks off an answer whose source fails half-way', async () => {
    const { url } = await serve(async (app) => {
      app.get('/', (_request, reply) => {
        async function* source() {
          yield 'half of the '
          throw new Error('the disk is gone')
        }
        return reply.type('text/plain').send(Readable.from(source()))
      })
    })
    await expect(fetch(url).then((answer) => answer.text())).rejects.toThrow()
  })

  it('passes events on one by one', async () => {
    const stream = new PassThrough()
    const { url } = await serve(async (app) => {
      app.get('/', (_request, reply) => reply.type('text/event-stream').send(stream))
    })
    stream.write('data: 1\n\n')
    const reader = (await fetch(url)).body!.getReader()
    // Each event is sent only after the one before has been read at the other end.
    expect(String(Buffer.from((await reader.read()).value!))).toBe('data: 1\n\n')
    stream.write('data: 2\n\n')
    expect(String(Buffer.from((await reader.read()).value!))).toBe('data: 2\n\n')
    stream.end()
    expect((await reader.read()).done).toBe(true)
  })

  it.each(['GET', 'POST'])('abandons a %s only when its caller leaves', async (method) => {
    const entered = Promise.withResolvers<AbortSignal>()
    const { url, registry } = await serve(async (app) => {
      app.route({
        method,
        url: '/',
        handler: async (request) => {
          const { abandoned } = request
          // Fastify's own signal has fired by now for a POST.
          await new Promise((resolve) => setTimeout(resolve, 20))
          entered.resolve(abandoned)
          return never()
        },
      })
    })
    const leaving = new AbortController()
    const body = method === 'POST' ? '{"a":1}' : null
    const headers = { 'content-type': 'application/json' }
    const answer = fetch(url, { method, body, headers, signal: leaving.signal })
    const abandoned = await entered.promise
    expect(abandoned.aborted).toBe(false)
    const aborted = once(abandoned, 'abort')
    leaving.abort()
    await expect(answer).rejects.toThrow()
    await aborted
    expect(await registry.metrics()).toContain('status="499"')
  })

  it('takes a caller that left for no error, however the work ends', async () => {
    const lines: { level: number; msg: string; code?: string }[] = []
    const write = (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number])
    const ended = Promise.withResolvers<void>()
    const entered = Promise.withResolvers<void>()
    const { url } = await serve(
      async (app) => {
        app.get('/', async (request) => {
          entered.resolve()
          await once(request.abandoned, 'abort')
          setImmediate(ended.resolve)
          throw new Error('The answer of the daemon broke off.', {
            cause: request.abandoned.reason,
          })
        })
      },
      {},
      { log: pino({ level: 'debug' }, { write }) },
    )
    const leaving = new AbortController()
    const answer = fetch(url, { signal: leaving.signal })
    await entered.promise
    leaving.abort()
    await expect(answer).rejects.toThrow()
    await ended.promise
    const told = lines.filter(({ code }) => code !== undefined)
    expect(told).toEqual([
      expect.objectContaining({ level: 20, msg: 'caller left', code: 'BZZZ_CALLER_LEFT' }),
    ])
  })

  it('waits for what is in flight before it closes what the handler opened', async () => {
    const { plugin, open, entered } = gated()
    const order: string[] = []
    const { app, url } = await serve(async (scope, context) => {
      scope.addHook('onClose', async () => void order.push('closed'))
      scope.addHook('onResponse', async () => void order.push('answered'))
      await plugin(scope, context)
    })
    const answer = fetch(url)
    await entered
    const closed = app.close()
    open()
    expect(await (await answer).json()).toEqual({ done: true })
    await closed
    expect(order).toEqual(['answered', 'closed'])
  })

  it('answers 503 to what is not done in time when it closes', async () => {
    const { plugin, entered } = gated()
    const { app, url } = await serve(plugin, {}, { drainTimeoutMs: 20 })
    const answer = fetch(url)
    await entered
    await app.close()
    expect((await answer).status).toBe(503)
    expect(await (await answer).json()).toMatchObject({ error: { code: 'BZZZ_SHUTTING_DOWN' } })
  })

  it('fails to start with the error of its handler, and closes what that opened', async () => {
    let closed = false
    const starting = serve(async (app) => {
      app.addHook('onClose', async () => void (closed = true))
      throw new InvalidConfigError('BZZZ_X: must be set')
    })
    await expect(starting).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
    expect(closed).toBe(true)
  })

  it('refuses a time-out that it cannot read', async () => {
    await expect(serve(async () => undefined, { exec_timeout: 'soon' })).rejects.toMatchObject({
      code: 'BZZZ_CONFIG_INVALID',
    })
  })

  it('counts requests by route and status', async () => {
    const { app, registry } = await serve(async (scope) => {
      scope.get('/things/:id', async () => 'here')
    })
    await app.inject('/things/1')
    await app.inject('/things/2')
    expect(await registry.metrics()).toContain(
      'bzzz_function_request_seconds_count{method="GET",route="/things/:id",status="200"} 2',
    )
    expect(await registry.metrics()).toContain('bzzz_function_in_flight 0')
  })
})

async function readUntilEnd(answer: Response): Promise<{ text: string; error: unknown }> {
  let text = ''
  try {
    for await (const chunk of answer.body!) text += Buffer.from(chunk).toString()
    return { text, error: null }
  } catch (error) {
    return { text, error }
  }
}
