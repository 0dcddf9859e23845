import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { serveFunction } from '../../shared/function/serve.ts'
import type { Running } from '../../shared/process/entry.ts'
import echo from '../gateway/functions/echo/handler.ts'
import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'

/** Calls by somebody else while an attack goes on; every one has to be answered. */
const OTHERS = 50

/** Callers that do not read. More of them only take longer. */
const READERS = 30

const MiB = 1024 * 1024

let service: Running | undefined
let gateway: TestGateway
const sockets = new Set<Socket>()

function open(): Socket {
  const socket = connect(gateway.ports['gateway']!, '127.0.0.1')
  sockets.add(socket)
  socket.once('close', () => sockets.delete(socket)).on('error', () => undefined)
  return socket
}

/** Not `once(socket, 'close')`: that fails when the connection was reset. */
function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

function closeAll(): void {
  for (const socket of sockets) socket.destroy()
}

/** What comes back for these bytes, until the gateway closes the connection. */
async function answerTo(bytes: string | Buffer): Promise<string> {
  const socket = open()
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.write(bytes)
  await closing(socket)
  return text
}

const statusesOf = (text: string) =>
  [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status))

async function callOthers(): Promise<void> {
  for (let call = 0; call < OTHERS; call += 1) {
    const answer = await fetch(`${gateway.url}/function/echo/env/GREETING`)
    expect(answer.status).toBe(200)
    await answer.text()
  }
}

async function startService(): Promise<Record<string, string>> {
  service = await serveFunction(echo, {
    env: {
      OPENFAAS_NAME: 'echo',
      port: '0',
      BZZZ_HOST: '127.0.0.1',
      BZZZ_LOG_LEVEL: 'silent',
      healthcheck_interval: '0',
      drain_timeout: '0',
    },
    signal: new AbortController().signal,
  })
  return { BZZZ_FUNCTION_URLS: `echo=http://127.0.0.1:${service.ports['http']}` }
}

describe.each(['in-process', 'http'])('gateway under attack, %s', (kind) => {
  beforeAll(async () => {
    const env = kind === 'http' ? await startService() : {}
    gateway = await startTestGateway({ env: { BZZZ_STOP_TIMEOUT: '1s', ...env } })
  })
  afterAll(async () => {
    closeAll()
    await gateway.stop()
    await service?.stop()
    service = undefined
  })

  it('serves a thousand connections at once', async () => {
    const count = 1000
    const many = Array.from({ length: count }, open)
    await Promise.all(many.map((socket) => once(socket, 'connect')))
    await callOthers()
    const answers = many.map(async (socket) => {
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      return statusesOf(chunk.toString('latin1'))[0]
    })
    for (const socket of many) socket.write('GET /function/echo HTTP/1.1\r\nhost: x\r\n\r\n')
    const statuses = await Promise.all(answers)
    // Each is answered: by the function, or by its limit of requests at once.
    expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([])
    expect(statuses).toContain(200)
    closeAll()
  })

  it('stands callers that do not read', async () => {
    for (let reader = 0; reader < READERS; reader += 1) {
      open().pause().write('GET /function/echo/flood HTTP/1.1\r\nhost: x\r\n\r\n')
    }
    await callOthers()
    const flooded = (await (await fetch(`${gateway.url}/function/echo/flooded`)).json()) as {
      bytes: number
    }
    // Each would get 256 MiB; what went out is what fits into the sockets between.
    expect(flooded.bytes).toBeLessThan(READERS * 48 * MiB)
    closeAll()
  })

  it('stands callers that write a byte now and then', async () => {
    const slow = Array.from({ length: 200 }, open)
    for (const [at, socket] of slow.entries()) {
      // Half of them in the headers, half of them in the body.
      const head = 'POST /function/echo/seen/x HTTP/1.1\r\nhost: x\r\n'
      socket.write(at % 2 === 0 ? head : `${head}content-length: 1000\r\n\r\n`)
    }
    const drip = setInterval(() => {
      for (const socket of slow) if (socket.writable) socket.write('x')
    }, 50)
    await callOthers()
    clearInterval(drip)
    closeAll()
  })

  it('refuses ten megabytes of headers', async () => {
    const socket = open()
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    socket.write('GET /function/echo HTTP/1.1\r\nhost: x\r\n')
    const line = `x-much: ${'x'.repeat(8000)}\r\n`
    for (let sent = 0; sent < 10 * MiB && socket.writable; sent += line.length) socket.write(line)
    await closing(socket)
    // 431, where the closing of the connection did not overtake it.
    expect(statusesOf(text).filter((status) => status !== 431)).toEqual([])
    await callOthers()
    const small = `GET /function/echo HTTP/1.1\r\nhost: x\r\nx-much: ${'x'.repeat(40_000)}\r\n\r\n`
    expect(statusesOf(await answerTo(small))).toEqual([431])
  })

  it('refuses a body over the limit, announced or not', async () => {
    const headers = { authorization: `Bearer ${gateway.token}` }
    const announced = await answerTo(
      `POST /system/secrets HTTP/1.1\r\nhost: x\r\nauthorization: ${headers.authorization}\r\n` +
        'connection: close\r\ncontent-length: 10737418240\r\n\r\n{',
    )
    expect(statusesOf(announced)).toEqual([413])
    let sent = 0
    const body = new ReadableStream({
      pull(controller) {
        sent += 64 * 1024
        controller.enqueue(Buffer.alloc(64 * 1024, 0x20))
        if (sent > 64 * MiB) controller.close()
      },
    })
    const endless = fetch(`${gateway.url}/system/secrets`, {
      method: 'POST',
      headers,
      body,
      duplex: 'half',
    } as RequestInit)
    // Refused after a megabyte, whether the sender saw the answer or only the end.
    const status = await endless.then(
      (answer) => answer.status,
      () => 413,
    )
    expect(status).toBe(413)
    await callOthers()
  })

  it.each([
    ['/function/../system/functions', 404],
    ['/function/%2e%2e/system/functions', 404],
    ['//function/echo', 404],
    ['/FUNCTION/echo', 404],
    ['/function/echo%00', 404],
    ['/function/echo%2f..', 404],
    ['/function/echo;x', 404],
    ['/function/.openfaas-fn', 404],
    ['/function/echo..openfaas-fn', 404],
    ['/function/constructor', 404],
    ['/function/__proto__', 404],
    ['/function/toString.openfaas-fn', 404],
    [`/function/${'x'.repeat(10_000)}`, 404],
    ['/function/echo/../../system/functions', 404],
    ['/function/echo/%2e%2e/%2e%2e/system/functions', 404],
    ['http://elsewhere/function/echo', 404],
    ['/function/echo/%zz', 400],
  ])('does not mistake %s for something else', async (path, status) => {
    const text = await answerTo(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
    expect(statusesOf(text)).toEqual([status])
    expect(text).toContain('"error"')
  })

  const HIDDEN = 'GET /function/echo/hidden HTTP/1.1\r\nhost: x\r\n\r\n'

  it.each([
    ['two kinds of length', `content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['two lengths', 'content-length: 0\r\ncontent-length: 40\r\n\r\n'],
    ['a list of lengths', 'content-length: 0, 40\r\n\r\n'],
    ['a signed length', 'content-length: +0\r\n\r\n'],
    ['chunked not last', 'transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['an unknown encoding', 'transfer-encoding: xchunked\r\n\r\n'],
    ['a space before the colon', 'transfer-encoding : chunked\r\n\r\n0\r\n\r\n'],
    ['a folded line', 'x-a: b\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a chunk size that is none', 'transfer-encoding: chunked\r\n\r\n0x\r\n\r\n'],
    ['a bare line feed in a chunk', 'transfer-encoding: chunked\r\n\r\n0\n\n'],
    ['a bare carriage return', 'x-a: b\rcontent-length: 40\r\n\r\n'],
    ['a null byte', 'x-a: b\0c\r\n\r\n'],
  ])('reads no second request out of %s', async (_case, rest) => {
    const text = await answerTo(
      `POST /function/echo/seen/x HTTP/1.1\r\nhost: x\r\n${rest}${HIDDEN}`,
    )
    expect(text).not.toContain('hidden')
    const statuses = statusesOf(text)
    expect(statuses.length).toBe(1)
    expect(statuses[0]).toBe(400)
  })

  it.each(['content-length', 'transfer-encoding', 'host'])(
    'keeps %s although the caller calls it one of its connection',
    async (name) => {
      const framing =
        name === 'transfer-encoding'
          ? `transfer-encoding: chunked\r\n\r\n${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`
          : `content-length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`
      const text = await answerTo(
        `POST /function/echo/seen/x HTTP/1.1\r\nhost: x\r\nconnection: close, ${name}\r\n${framing}`,
      )
      expect(statusesOf(text)).toEqual([200])
      expect(text).toContain(`"sizeBytes":${HIDDEN.length}`)
      expect(text).toContain('"url":"/seen/x"')
    },
  )
})
