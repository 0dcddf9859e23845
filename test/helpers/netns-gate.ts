import { connect, createServer } from 'node:net'

/** Inside a network namespace: passes a unix socket on to a port of its own 127.0.0.1. */
const [path, port] = process.argv.slice(2)

createServer((socket) => {
  const inside = connect(Number(port), '127.0.0.1')
  socket.on('error', () => inside.destroy()).on('close', () => inside.destroy())
  inside.on('error', () => socket.destroy()).on('close', () => socket.destroy())
  socket.pipe(inside).pipe(socket)
}).listen(path, () => process.send?.({}))

// The test is gone.
process.on('disconnect', () => process.exit())
