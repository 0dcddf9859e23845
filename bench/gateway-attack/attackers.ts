/**
 * A process of its own that holds hostile connections open: what it costs to be hostile must not
 * count against the caller that is measured. What the gateway closes is opened again.
 */
import { connect, type Socket } from 'node:net'

const port = Number(process.argv[2])
const count = Number(process.argv[3])

/** A slow writer is just fast enough not to be taken for one that has left. */
const DRIP_MS = 500
const FILL_MS = 50
/** New connections in one go; the gateway is attacked, not the accept queue of the machine. */
const REOPENED_MAX = 50

const HEAD = 'POST /function/echo/seen/x HTTP/1.1\r\nhost: x\r\n'
const KINDS: readonly ((socket: Socket) => void)[] = [
  // Says nothing.
  () => undefined,
  // Writes headers for ever, a byte at a time.
  (socket) => socket.write(HEAD),
  // Announces a body and gives it a byte at a time.
  (socket) => socket.write(`${HEAD}content-length: 1000000\r\n\r\n`),
  // Asks for 256 MiB and does not read them.
  (socket) => socket.pause().write('GET /function/echo/flood HTTP/1.1\r\nhost: x\r\n\r\n'),
]

const sockets = new Map<number, Socket>()

function fill(): void {
  let opened = 0
  for (let at = 0; at < count && opened < REOPENED_MAX; at += 1) {
    if (sockets.has(at)) continue
    opened += 1
    const socket = connect(port, '127.0.0.1')
    sockets.set(at, socket)
    socket.on('error', () => undefined).once('close', () => sockets.delete(at))
    KINDS[at % KINDS.length]!(socket)
  }
}

function drip(): void {
  for (const [at, socket] of sockets) {
    const writes = at % KINDS.length === 1 || at % KINDS.length === 2
    if (writes && socket.writable) socket.write('x')
  }
}

setInterval(drip, DRIP_MS)
setInterval(() => {
  fill()
  const open = [...sockets.values()].filter((socket) => socket.readyState === 'open').length
  if (open > count * 0.9) process.send?.({ open })
}, FILL_MS)
process.once('SIGTERM', () => process.exit(0))
