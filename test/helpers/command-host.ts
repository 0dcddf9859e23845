import { PassThrough, Readable, Writable } from 'node:stream'

import type { CommandHost, Output } from '../../cli/host.ts'
import type { Env } from '../../shared/config/env.ts'

/** An output that keeps what was written, as a terminal or not. */
export function createOutput({ isTTY = false } = {}): Output & { text(): string; bytes(): Buffer } {
  const chunks: Buffer[] = []
  const output = new Writable({
    write(chunk: Buffer | string, _encoding, done) {
      chunks.push(Buffer.from(chunk))
      done()
    },
  })
  return Object.assign(output, {
    isTTY,
    columns: 100,
    // What cli-progress asks of a terminal beside `write`.
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
    bytes: () => Buffer.concat(chunks),
    text: () => Buffer.concat(chunks).toString(),
  })
}

/** Runs commands in this process, with the streams in memory. */
export function createCommandHost(env: Env, stdin = Buffer.alloc(0)) {
  const stdout = createOutput()
  const stderr = createOutput()
  const stopping = new AbortController()
  const host: CommandHost = {
    env,
    stdin: Readable.from([stdin]).pipe(new PassThrough()),
    stdout,
    stderr,
    signal: stopping.signal,
    force: new AbortController().signal,
  }
  return { host, stdout, stderr, stop: () => stopping.abort() }
}
