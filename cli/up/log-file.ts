import { openSync, renameSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Writable } from 'node:stream'

import {
  LAST_WORDS_BYTES_MAX,
  LAST_WORDS_LINES_MAX,
  LOG_BYTES_MAX,
  LOG_FOLLOW_INTERVAL_MS,
} from './constants.ts'

/**
 * Opens a log for appending and sets a large one aside as `<path>.1`. The descriptor is handed to
 * the child itself, so what it says while it ends is kept even when the supervisor was killed.
 */
export function openLogFile(path: string): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > LOG_BYTES_MAX) renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}

/** The end of a log from `fromBytes` on: what a part said before it failed to start. */
export async function readLastWords(path: string, fromBytes: number): Promise<string> {
  const text = await readFrom(path, fromBytes, LAST_WORDS_BYTES_MAX)
  return text.trim().split('\n').slice(-LAST_WORDS_LINES_MAX).join('\n')
}

export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

async function readFrom(path: string, fromBytes: number, bytesMax: number): Promise<string> {
  const file = await open(path, 'r').catch(() => null)
  if (!file) return ''
  try {
    const { size } = await file.stat()
    const start = Math.max(fromBytes <= size ? fromBytes : 0, size - bytesMax)
    const buffer = Buffer.alloc(Math.max(0, size - start))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, start)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

/** Copies what is appended to the logs, line by line with the part's name, until `stop`. */
export class LogFollower {
  readonly #output: Writable
  readonly #parts = new Map<string, { path: string; readBytes: number; rest: string }>()
  #timer: NodeJS.Timeout | undefined
  #copying: Promise<void> = Promise.resolve()

  constructor({ output }: { output: Writable }) {
    this.#output = output
  }

  follow(part: string, path: string): void {
    this.#parts.set(part, { path, readBytes: sizeOf(path), rest: '' })
    this.#timer ??= setInterval(() => {
      this.#copying = this.#copying.then(() => this.#copyAll())
    }, LOG_FOLLOW_INTERVAL_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#copying
    await this.#copyAll()
    this.#parts.clear()
  }

  async #copyAll(): Promise<void> {
    for (const [part, state] of this.#parts) {
      const size = sizeOf(state.path)
      if (size === state.readBytes) continue
      const text = await readFrom(state.path, state.readBytes, LOG_BYTES_MAX)
      state.readBytes = size
      const lines = (state.rest + text).split('\n')
      state.rest = lines.pop() ?? ''
      for (const line of lines) this.#output.write(`${part} | ${line}\n`)
    }
  }
}
