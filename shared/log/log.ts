import { pino, type DestinationStream, type Logger, type LoggerOptions } from 'pino'
import { PinoPretty } from 'pino-pretty'

export type { Logger } from 'pino'

/** Paths that may carry a credential or content. They are removed before a line is written. */
const REDACTED = [
  'authorization',
  'token',
  'password',
  'secret',
  '*.authorization',
  '*.token',
  '*.password',
  '*.secret',
  'req.headers.authorization',
  // Errors of PostgreSQL quote the row that they are about, those of HTTP parsers what they read.
  'err.detail',
  'err.where',
  'err.data',
  'err.body',
  'err.rawPacket',
]

const FORM = {
  timestamp: pino.stdTimeFunctions.isoTime,
  redact: { paths: REDACTED, remove: true },
}

export interface LogOptions {
  /** The part that speaks: `p2p-daemon`, `gateway`, `cli`. */
  name: string
  level?: string
  /** Readable lines for people instead of JSON for programs. Default: whether fd is a terminal. */
  pretty?: boolean
  /** Called with what every line of level error or above is made of. */
  onError?: (args: readonly unknown[]) => void
  /** 1 stdout, 2 stderr. Default 2: stdout belongs to the program's answer. */
  fd?: number
}

/** JSON lines with ISO times, or readable ones on a terminal. Constant messages, data in fields. */
export function createLogger(options: LogOptions): Logger {
  const fd = options.fd ?? 2
  const pretty = options.pretty ?? (fd === 2 ? process.stderr.isTTY : process.stdout.isTTY)
  const destination: DestinationStream = pretty
    ? PinoPretty({ destination: fd, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' })
    : pino.destination({ fd, sync: false })
  const { name, level = 'info', onError } = options
  const hooks = onError && { hooks: { logMethod: telling(onError) } }
  return pino({ ...FORM, ...hooks, name, level }, destination)
}

/** Looks at calls on their way to the logger; children have it from their parent. */
function telling(onError: NonNullable<LogOptions['onError']>): LogFn {
  return function told(args, method, level) {
    if (level >= pino.levels.values['error']!) onError(args)
    method.apply(this, args)
  }
}

type LogFn = NonNullable<NonNullable<LoggerOptions['hooks']>['logMethod']>

/** A logger like `log` with further fields, whose lines are also given to `tap`. */
export function createTappedLogger(
  log: Logger,
  fields: Readonly<Record<string, string>>,
  tap: (line: string) => void,
): Logger {
  const streams = log as unknown as Record<symbol, DestinationStream>
  const destination = streams[pino.symbols.streamSym]
  const write = (line: string) => {
    destination?.write(line)
    tap(line)
  }
  return pino({ ...FORM, base: { ...log.bindings(), ...fields }, level: log.level }, { write })
}

/** For tests and tools that must stay quiet. */
export function createSilentLogger(): Logger {
  return pino({ level: 'silent' })
}
