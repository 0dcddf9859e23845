import { runCli } from './cli.ts'

const stopping = new AbortController()
const forcing = new AbortController()

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) forcing.abort()
    else stopping.abort(new Error(`Stopped by ${signal}.`))
  })
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
