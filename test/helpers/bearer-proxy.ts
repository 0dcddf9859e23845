import { createServer, request as send, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'

export interface BearerProxy {
  url: string
  close(): Promise<void>
}

/**
 * Hands every request on as it came, Host and Origin included, with a token added: for programs
 * that cannot be told to send one.
 */
export async function startBearerProxy(target: string, token: string): Promise<BearerProxy> {
  const { hostname, port, pathname } = new URL(target)
  const server: Server = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming
    const upstream = send(
      { hostname, port, method, path, headers: { ...headers, authorization: `Bearer ${token}` } },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        // Events must not wait for a first piece of the body.
        outgoing.flushHeaders()
        answer.pipe(outgoing)
      },
    )
    upstream.on('error', () => outgoing.destroy())
    outgoing.on('close', () => upstream.destroy())
    incoming.pipe(upstream)
  })
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${pathname}`,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
