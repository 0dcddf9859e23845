import { runCli } from './cli.ts'

/** How soon the end of npm is noticed. */
const PARENT_POLL_INTERVAL_MS = 500

/**
 * A terminal sends Ctrl-C to npm and to us, npm passes it on, and a service manager does the same
 * to a group: signals this close together are one wish, and nobody's impatience.
 */
const SAME_WISH_MS = 1_000

const stopping = new AbortController()
const forcing = new AbortController()
let stoppedAtMs = Infinity

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    const nowMs = performance.now()
    if (nowMs - stoppedAtMs > SAME_WISH_MS) forcing.abort()
    if (stopping.signal.aborted) return
    stoppedAtMs = nowMs
    stopping.abort(new Error(`Stopped by ${signal}.`))
  })
}
// npm starts us below a shell that passes no signal on: when that is gone, so is who called npm.
if (process.env['npm_execpath']) {
  const parent = process.ppid
  const watch = () => {
    if (process.ppid !== parent) stopping.abort(new Error('Stopped by the end of npm.'))
  }
  setInterval(watch, PARENT_POLL_INTERVAL_MS).unref()
}
// Whoever read our output has enough (`bzzz get ... | head`): that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') stopping.abort(error)
})

const exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: stopping.signal,
  force: forcing.signal,
})
process.exit(exitCode)
