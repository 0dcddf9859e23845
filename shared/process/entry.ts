import type { Env } from '../config/env.ts'
import { PortInUseError } from '../errors.ts'
import { EXIT_MESSAGE_TIMEOUT_MS, STOP_TIMEOUT_MS } from './constants.ts'

/** What a long-running process of bzzz hands back once it serves. */
export interface Running {
  /** Name to port, as really bound; told to the parent, which may have asked for `:0`. */
  ports: Readonly<Record<string, number>>
  /** Who this process is in the mesh, where it is a node of it. */
  peerId?: string
  stop(): Promise<void>
}

export interface Entry {
  /** Begins every line on stderr: `gateway: Port 8080 is already in use ...`. */
  name: string
  /** `signal` aborts when the process is told to stop, also while it still starts. */
  start(context: { env: Env; signal: AbortSignal }): Promise<Running>
  /** Longest time `stop` may take before the process gives up on it and exits with 1. */
  stopTimeoutMs?: number
}

/** The part of `process` that is used here; only entry points own the real one. */
export type HostProcess = Pick<NodeJS.Process, 'env' | 'on' | 'send' | 'exit' | 'stderr'>

/** What a child tells `bzzz up` over the IPC channel, once. */
export type EntryMessage =
  | { ready: true; ports: Readonly<Record<string, number>>; peerId?: string }
  | { error: { code: string; message: string } }

/**
 * The life of a process: start, say so, wait for SIGTERM, SIGINT or the loss of the parent, stop,
 * exit. Code 0 after a clean stop, 1 when the start failed or the stop failed or took too long; a
 * second signal exits with 1 at once.
 */
export async function runMain(entry: Entry, host: HostProcess): Promise<void> {
  const stopping = new AbortController()
  const told = new Promise<void>((resolve) => {
    const stop = (cause: string) => {
      if (stopping.signal.aborted && cause !== 'disconnect') host.exit(1)
      stopping.abort(new Error(`Stopped by ${cause}.`))
      resolve()
    }
    host.on('SIGTERM', () => stop('SIGTERM'))
    host.on('SIGINT', () => stop('SIGINT'))
    // The parent died without a word: nobody is left who would stop this process.
    if (host.send) host.on('disconnect', () => stop('disconnect'))
  })

  let running: Running
  try {
    running = await entry.start({ env: host.env, signal: stopping.signal })
  } catch (error) {
    if (stopping.signal.aborted) return host.exit(0)
    const failure = describeFailure(error)
    host.stderr.write(`${entry.name}: ${failure.message}\n`)
    await tell(host, { error: failure })
    return host.exit(1)
  }
  const { ports, peerId } = running
  await tell(host, { ready: true, ports, ...(peerId !== undefined && { peerId }) })
  await told

  const problem = await stopInTime(running, entry.stopTimeoutMs ?? STOP_TIMEOUT_MS)
  if (problem) host.stderr.write(`${entry.name}: ${problem}\n`)
  host.exit(problem ? 1 : 0)
}

/** Why the stop was not clean, or null. */
async function stopInTime(running: Running, timeoutMs: number): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`The stop took longer than ${timeoutMs} ms.`), timeoutMs)
  })
  const stopped = running.stop().then(
    () => null,
    (error: unknown) => `The stop failed: ${describeFailure(error).message}`,
  )
  const problem = await Promise.race([stopped, late])
  clearTimeout(timer)
  return problem
}

/** Resolves when the message has left, or the parent is gone, or takes too long to read it. */
async function tell(host: HostProcess, message: EntryMessage): Promise<void> {
  if (!host.send) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, EXIT_MESSAGE_TIMEOUT_MS)
    host.send?.(message, undefined, undefined, () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function describeFailure(error: unknown): { code: string; message: string } {
  const known = asPortInUse(error) ?? error
  if (!(known instanceof Error)) return { code: 'BZZZ_INTERNAL', message: String(known) }
  const code = 'code' in known && typeof known.code === 'string' ? known.code : 'BZZZ_INTERNAL'
  if (code.startsWith('BZZZ_') && code !== 'BZZZ_INTERNAL') return { code, message: known.message }
  // Not one of our cases: the stack is what whoever looks into it needs.
  return { code, message: known.stack ?? known.message }
}

/** Turns the EADDRINUSE of a listener into the error a person can act on; null for others. */
export function asPortInUse(error: unknown, variable = 'BZZZ_PORT_OFFSET'): PortInUseError | null {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'EADDRINUSE') return null
  const port = 'port' in error ? ` ${String(error.port)}` : ''
  return new PortInUseError(
    `Port${port} is already in use: stop the program that holds it, or set ${variable}.`,
    { cause: error },
  )
}
