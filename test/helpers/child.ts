import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** A server that is not up by then will not come up. */
const READY_TIMEOUT_MS = 60_000

/** A process of a test, of the bench or of the project that says over IPC when it serves. */
export interface Child<Ready> {
  ready: Ready
  process: ChildProcess
  stop(): Promise<void>
  /** SIGKILL: nothing of the process runs any more when this resolves. */
  kill(): Promise<void>
}

/** What a process of the project says instead when it cannot serve. */
interface Failed {
  error: { code: string; message: string }
}

function isFailed(said: unknown): said is Failed {
  return typeof said === 'object' && said !== null && 'error' in said
}

export async function startChild<Ready>(
  module: URL,
  init: {
    env?: Record<string, string>
    args?: readonly string[]
    readyMs?: number
    /** A command and its arguments that turns into the program given after them. */
    launcher?: readonly string[]
    /** Options of Node. */
    execArgv?: readonly string[]
    /** Given what it says on stderr, which is shown otherwise. */
    onLog?: (text: string) => void
  } = {},
): Promise<Child<Ready>> {
  const [execPath = '', ...before] = [...(init.launcher ?? []), process.execPath]
  const child = fork(module, init.args ?? [], {
    env: { ...process.env, ...init.env },
    stdio: ['ignore', 'ignore', init.onLog ? 'pipe' : 'inherit', 'ipc'],
    execPath,
    execArgv: [...before, ...(init.execArgv ?? [])],
  })
  if (init.onLog) child.stderr?.setEncoding('utf8').on('data', init.onLog)
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
  const signal = AbortSignal.timeout(init.readyMs ?? READY_TIMEOUT_MS)
  const died = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`${module.pathname} ended with ${String(code)} before it served.`)
  })
  try {
    const said = (await Promise.race([once(child, 'message', { signal }), died])) as [
      Ready | Failed,
    ]
    const [ready] = said
    if (isFailed(ready)) throw new Error(`${module.pathname} did not start: ${ready.error.message}`)
    return { ready, process: child, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') }
  } catch (error) {
    await end('SIGKILL')
    throw error
  }
}
