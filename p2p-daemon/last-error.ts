/** The last failure that was logged, without what could name something a reader may not see. */
export interface LoggedError {
  at: string
  /** The constant sentence of the log line. */
  message: string
  /** `BZZZ_...` or the system's, such as ENOSPC. */
  code: string | null
}

/** Remembers the last line that was logged as an error, for status. */
export class LastError {
  #last: LoggedError | null = null

  current(): LoggedError | null {
    return this.#last
  }

  /** Takes the arguments of a call of the logger. */
  note(args: readonly unknown[]): void {
    const message = args.find((arg) => typeof arg === 'string') ?? 'error without a message'
    const [fields] = args
    this.#last = { at: new Date().toISOString(), message, code: codeOf(fields) }
  }
}

function codeOf(fields: unknown): string | null {
  if (typeof fields !== 'object' || fields === null) return null
  const error = 'err' in fields ? fields.err : fields
  const code = 'code' in fields ? fields.code : null
  if (typeof code === 'string') return code
  if (typeof error !== 'object' || error === null || !('code' in error)) return null
  return typeof error.code === 'string' ? error.code : null
}
