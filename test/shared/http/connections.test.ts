import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'

import { afterEach, describe, expect, it } from 'vitest'

import { boundConnections } from '../../../shared/http/connections.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function serve(listener: RequestListener): Promise<(request: string) => Socket> {
  const server = createServer(listener)
  servers.push(server)
  boundConnections(server, { idleMs: 100, lookMs: 20 })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return (request) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(request)
    return socket
  }
}

const HEAD = 'POST / HTTP/1.1\r\nhost: x\r\n'

describe('connections', () => {
  it('closes one whose announced body does not come', async () => {
    const call = await serve((request, response) => request.pipe(response))
    const socket = call(`${HEAD}content-length: 10\r\n\r\nhalf`)
    socket.resume()
    await once(socket, 'close')
  })

  it('closes one that does not take its answer', async () => {
    const call = await serve((_request, response) => {
      const write = () => {
        while (response.write(Buffer.alloc(65_536)));
        response.once('drain', write)
      }
      write()
    })
    const socket = call(`${HEAD}content-length: 0\r\n\r\n`)
    // Paused: the kernel's buffers fill and nothing more is taken.
    socket.pause()
    const [server] = servers
    await expect.poll(() => connectionsOf(server!), { timeout: 30_000 }).toBe(1)
    await expect.poll(() => connectionsOf(server!), { timeout: 30_000 }).toBe(0)
    socket.destroy()
  })

  it('leaves alone what is silent for a reason', async () => {
    const silent: string[] = []
    const call = await serve((request, response) => {
      if (request.method === 'GET') {
        // A stream of events with nothing to tell.
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.flushHeaders()
      }
      // A POST is not read: its body stands here, not with its sender.
    })
    const waiting = [
      call('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
      call(`${HEAD}content-length: 100000\r\n\r\n${'x'.repeat(90_000)}`),
    ]
    for (const [at, socket] of waiting.entries()) {
      socket.once('close', () => silent.push(`closed ${at}`)).resume()
    }
    // One that is closed for standing still shows that the others had their time.
    const late = call(`${HEAD}content-length: 10\r\n\r\n`)
    late.resume()
    await once(late, 'close')
    expect(silent).toEqual([])
    for (const socket of waiting) socket.destroy()
  })
})

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })
}
