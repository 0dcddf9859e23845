import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'

import type { Command } from 'commander'
import mime from 'mime'

import { InvalidRequestError } from '../../shared/errors.ts'
import { findConnection } from '../client/connection.ts'
import { ResolveClient, type Written } from '../client/resolve-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes } from '../output/format.ts'
import { createProgress } from '../output/progress.ts'
import { integer } from './integer.ts'

interface Options {
  type?: string
  ifMatch?: string
  version?: number
  json?: boolean
  data?: string
}

const DEFAULT_MEDIA_TYPE = 'application/octet-stream'

export function putCommand(program: Command, host: CommandHost): void {
  program
    .command('put')
    .description('store a file under an address')
    .argument('<file>', 'file to store, or - for stdin')
    .argument('<address>', 'such as bzzz://reviewer@apollo:task-42/plan.md')
    .option('--type <media-type>', 'media type (default: by the extension of the file)')
    .option('--if-match <hash>', 'only if this content stands there now')
    .option('--version <n>', 'only if this version stands there now; 0 for none', (text) =>
      integer(text, 0),
    )
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((file: string, address: string, options: Options) => put(host, file, address, options))
}

async function put(
  host: CommandHost,
  file: string,
  address: string,
  options: Options,
): Promise<void> {
  const { resolveURL, token } = await findConnection(host, options.data)
  const client = new ResolveClient({ url: resolveURL, token })
  const { stream, sizeBytes } = file === '-' ? fromStdin(host) : await fromFile(file)
  const progress = createProgress(host.stderr, { label: address, sizeBytes })
  // The request owns the progress stream: when either ends or fails, so does the other.
  stream.on('error', (error) => progress.destroy(readError(file, error)))
  const body = stream.pipe(progress)
  try {
    const written = await client.put(
      address,
      body,
      {
        mediaType:
          options.type ?? mime.getType(file === '-' ? address : file) ?? DEFAULT_MEDIA_TYPE,
        sizeBytes,
        ...(options.ifMatch !== undefined && { ifMatch: options.ifMatch }),
        ...(options.version !== undefined && { ifVersion: options.version }),
      },
      host.signal,
    )
    host.stdout.write(options.json ? `${JSON.stringify(written)}\n` : describe(written))
  } finally {
    progress.destroy()
    stream.destroy()
  }
}

interface Source {
  stream: Readable
  sizeBytes: number | null
}

function fromStdin({ stdin }: CommandHost): Source {
  return { stream: stdin, sizeBytes: null }
}

/** The size is announced, so that a file which is cut short meanwhile is refused. */
async function fromFile(file: string): Promise<Source> {
  try {
    const found = await stat(file)
    if (found.isDirectory()) throw new InvalidRequestError(`${file} is a folder, not a file.`)
    return { stream: createReadStream(file), sizeBytes: found.isFile() ? found.size : null }
  } catch (error) {
    throw error instanceof InvalidRequestError ? error : readError(file, error)
  }
}

function readError(file: string, error: unknown): Error {
  const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
  return new InvalidRequestError(`${file} cannot be read (${reason}).`, { cause: error })
}

function describe({ address, version, size, hash, replicas }: Written): string {
  const copies = replicas.length === 1 ? '1 copy' : `${replicas.length} copies`
  return `${address}  version ${version}  ${formatBytes(size)}  ${copies}\nbzzz://b3/${hash}\n`
}
