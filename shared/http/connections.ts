import type { IncomingMessage } from 'node:http'
import type { Server, Socket } from 'node:net'

/** Connections of one server. Far above what a team opens, below what fills a process. */
const CONNECTIONS_MAX = 8192

/** A connection may stand still for this long while it is the other side's turn. */
const IDLE_MS = 120_000

/** How often that is looked at; a connection that stands still lives this much longer at most. */
const LOOK_MS = 10_000

interface Connection {
  request: IncomingMessage | null
  movedBytes: number
  movedAtMs: number
}

/**
 * Bounds the connections of a server, and closes those whose other side owes something and does
 * not move: a body that is announced and does not come, an answer that is not taken. Neither has a
 * limit in Node. A stream that is silent because nobody has anything to say is left alone.
 */
export function boundConnections(
  server: Server,
  init: { idleMs?: number; lookMs?: number } = {},
): void {
  const { idleMs = IDLE_MS, lookMs = LOOK_MS } = init
  const connections = new Map<Socket, Connection>()
  server.maxConnections = CONNECTIONS_MAX
  server.on('connection', (socket: Socket) => {
    connections.set(socket, { request: null, movedBytes: 0, movedAtMs: performance.now() })
    socket.once('close', () => connections.delete(socket))
  })
  server.on('request', (request: IncomingMessage) => {
    const connection = connections.get(request.socket)
    if (connection) connection.request = request
  })
  const look = () => {
    const now = performance.now()
    for (const [socket, connection] of connections) {
      // What is written and still waits here has not moved: it is taken off.
      const moved = socket.bytesRead + socket.bytesWritten - socket.writableLength
      const owes = socket.writableLength > 0 || owesBody(connection.request)
      if (!owes || moved !== connection.movedBytes) {
        connection.movedBytes = moved
        connection.movedAtMs = now
      } else if (now - connection.movedAtMs >= idleMs) {
        socket.destroy()
      }
    }
  }
  server.once('listening', () => {
    const timer = setInterval(look, lookMs).unref()
    server.once('close', () => clearInterval(timer))
  })
}

/** True while the rest of a body is still with its sender. One that is not read here is not. */
function owesBody(request: IncomingMessage | null): boolean {
  return request !== null && !request.complete && request.readableLength === 0
}
