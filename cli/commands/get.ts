import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { realpath, rename, rm, stat } from 'node:fs/promises'
import { Transform, type TransformCallback, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import type { Command } from 'commander'

import { createHasher, isHash } from '../../shared/blob/hash.ts'
import { HashMismatchError, InvalidRequestError } from '../../shared/errors.ts'
import { findConnection } from '../client/connection.ts'
import { unreachable, type Answer } from '../client/http.ts'
import { ResolveClient } from '../client/resolve-client.ts'
import type { CommandHost } from '../host.ts'
import { createProgress } from '../output/progress.ts'

interface Options {
  output?: string
  data?: string
}

export function getCommand(program: Command, host: CommandHost): void {
  program
    .command('get')
    .description('read the content of an address; its hash is checked')
    .argument('<address>', 'such as bzzz://reviewer@apollo/plan.md?v=2, or bzzz://b3/<hash>')
    .option('-o, --output <file>', 'write to a file instead of stdout')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((address: string, options: Options) => get(host, address, options))
}

async function get(host: CommandHost, address: string, options: Options): Promise<void> {
  const { resolveURL, token } = await findConnection(host, options.data)
  const client = new ResolveClient({ url: resolveURL, token })
  const answer = await client.get(address, host.signal)
  const receive = (output: Writable, end: boolean) =>
    receiveVerified(host, answer, { label: address, url: resolveURL, output, end })
  if (options.output === undefined) await receive(host.stdout, false)
  else await writeWhole(options.output, (file) => receive(file, true))
}

interface Receiving {
  label: string
  url: string
  output: Writable
  /** Whether the output ends with the content; stdout does not. */
  end: boolean
}

/** @throws HashMismatchError when what arrived is not what the address names */
async function receiveVerified(
  host: CommandHost,
  { headers, body }: Answer,
  { label, url, output, end }: Receiving,
): Promise<void> {
  const expected = String(headers['etag'] ?? '').replaceAll('"', '')
  const length = Number(headers['content-length'])
  const sizeBytes = Number.isInteger(length) ? length : null
  const hasher = createHasher()
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      hasher.update(chunk)
      done(null, chunk)
    },
    // Checked before the output is ended, so that a file with wrong content never gets its name.
    flush(done) {
      const arrived = hasher.digestHex()
      if (isHash(expected) && arrived === expected) return done()
      done(
        new HashMismatchError(
          `What arrived has the hash ${arrived} instead of ${expected || 'the one it should name'}: it was not kept.`,
        ),
      )
    },
  })
  const progress = createProgress(host.stderr, { label, sizeBytes })
  try {
    await pipeline(body, progress, hashing, output, { end, signal: host.signal })
  } catch (error) {
    host.signal.throwIfAborted()
    throw unreachable(url, error)
  }
}

/**
 * Writes beside the file and renames at the end, so that a failure leaves what was there before.
 * A device or a pipe is written to as it is.
 */
async function writeWhole(path: string, write: (output: Writable) => Promise<void>): Promise<void> {
  const existing = await stat(path).catch(() => null)
  if (existing && !existing.isFile() && !existing.isDirectory()) {
    return write(createWriteStream(path))
  }
  const target = existing ? await realpath(path) : path
  const partial = `${target}.${randomUUID()}.part`
  try {
    await write(createWriteStream(partial, { flags: 'wx' }))
    await rename(partial, target)
  } catch (error) {
    await rm(partial, { force: true })
    throw writeError(path, error)
  }
}

function writeError(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !('path' in error)) return error
  const code = 'code' in error ? String(error.code) : 'unknown reason'
  return new InvalidRequestError(`${path} cannot be written (${code}).`, { cause: error })
}
