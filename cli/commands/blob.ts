import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import type { Command } from 'commander'

import { createHasher, parseHash } from '../../shared/blob/hash.ts'
import { BlobCorruptError, InvalidRequestError } from '../../shared/errors.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { findNode } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes } from '../output/format.ts'
import { createProgress } from '../output/progress.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { integer } from './integer.ts'

interface Options {
  json?: boolean
  data?: string
  node?: string
  ack?: string
  reason?: string
  after?: string
  limit?: number
}

interface StoredBlob {
  hash: string
  size: number
  replicas: string[]
  underReplicated: boolean
}

/** `bzzz blob put|get|stat|pin|unpin|ls`: content by its hash, without a name. */
export function blobCommand(program: Command, host: CommandHost): void {
  const blob = program.command('blob').description('content by its hash')
  const add = (name: string, description: string): Command =>
    blob
      .command(name)
      .description(description)
      .option('--json', 'print JSON')
      .option('--data <dir>', 'data folder of a local cluster')
      .option('--node <name>', 'ask this node (default: the first that answers)')
  add('put', 'store a file and print its hash')
    .argument('<file>', 'file to store')
    .option('--ack <1|quorum|all>', 'copies to wait for (default: quorum)')
    .action((file: string, options: Options) => put(host, file, options))
  add('get', 'write content to stdout, verified')
    .argument('<hash>', 'BLAKE3 hash')
    .action((hash: string, options: Options) => get(host, hash, options))
  add('stat', 'show whether content is there and how large it is')
    .argument('<hash>', 'BLAKE3 hash')
    .action((hash: string, options: Options) => show(host, hash, options))
  add('pin', 'keep content whatever refers to it')
    .argument('<hash>', 'BLAKE3 hash')
    .option('--reason <text>', 'why, for whoever reads the list')
    .action((hash: string, options: Options) => pin(host, hash, options))
  add('unpin', 'let content go when nothing refers to it')
    .argument('<hash>', 'BLAKE3 hash')
    .action((hash: string, options: Options) => unpin(host, hash, options))
  add('ls', 'list what one node holds, in hash order')
    .option('--after <hash>', 'go on after this hash')
    .option('--limit <n>', `rows (default: ${PAGE_SIZE_DEFAULT})`, (text) =>
      integer(text, 1, PAGE_SIZE_MAX),
    )
    .action((options: Options) => list(host, options))
}

async function put(host: CommandHost, file: string, options: Options): Promise<void> {
  const node = await findNode(host, options)
  const sizeBytes = await sizeOf(file)
  const progress = createProgress(host.stderr, { label: file, sizeBytes })
  const source = createReadStream(file)
  source.on('error', (error) => progress.destroy(error))
  try {
    const stored = await node.json<StoredBlob>(
      `/v1/blobs${options.ack === undefined ? '' : `?ack=${encodeURIComponent(options.ack)}`}`,
      {
        method: 'PUT',
        headers: { 'content-length': String(sizeBytes) },
        body: source.pipe(progress),
      },
    )
    const copies = stored.replicas.length === 1 ? '1 copy' : `${stored.replicas.length} copies`
    print(host, options, stored, `${stored.hash}  ${formatBytes(stored.size)}  ${copies}\n`)
  } finally {
    progress.destroy()
    source.destroy()
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size
  } catch (error) {
    throw new InvalidRequestError(`${file} cannot be read.`, { cause: error })
  }
}

async function get(host: CommandHost, text: string, options: Options): Promise<void> {
  const hash = parseHash(text)
  const node = await findNode(host, options)
  const { body } = await node.request(`/v1/blobs/${hash}`)
  const hasher = createHasher()
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      hasher.update(chunk)
      host.stdout.write(chunk, done)
    },
  })
  await pipeline(body, sink, { signal: host.signal })
  if (hasher.digestHex() !== hash) {
    throw new BlobCorruptError('What arrived does not have the hash that was asked for.')
  }
}

async function show(host: CommandHost, text: string, options: Options): Promise<void> {
  const hash = parseHash(text)
  const node = await findNode(host, options)
  const { headers, body } = await node.request(`/v1/blobs/${hash}`, { method: 'HEAD' })
  await body.dump()
  const size = Number(headers['content-length'])
  const servedBy = String(headers['bzzz-served-by'])
  const pairs = formatPairs([
    ['content', `bzzz://b3/${hash}`],
    ['size', formatBytes(size)],
    ['asked', servedBy],
  ])
  print(host, options, { hash, size, servedBy }, pairs)
}

async function pin(host: CommandHost, text: string, options: Options): Promise<void> {
  const hash = parseHash(text)
  const node = await findNode(host, options)
  const pinned = await node.json<object>(`/v1/pins/${hash}`, {
    method: 'PUT',
    json: { reason: options.reason ?? '' },
  })
  print(host, options, pinned, `${hash} is pinned\n`)
}

async function unpin(host: CommandHost, text: string, options: Options): Promise<void> {
  const hash = parseHash(text)
  const node = await findNode(host, options)
  const { body } = await node.request(`/v1/pins/${hash}`, { method: 'DELETE' })
  await body.dump()
  print(host, options, { hash, pinned: false }, `${hash} is not pinned any more\n`)
}

async function list(host: CommandHost, options: Options): Promise<void> {
  const node = await findNode(host, options)
  const query = new URLSearchParams({ limit: String(options.limit ?? PAGE_SIZE_DEFAULT) })
  if (options.after !== undefined) query.set('after', parseHash(options.after))
  const page = await node.json<{ blobs: { hash: string; size: number }[]; next: string | null }>(
    `/v1/blobs?${query}`,
  )
  const rows = page.blobs.map(({ hash, size }) => [hash, formatBytes(size)])
  const more = page.next === null ? '' : `more: --after ${page.next}\n`
  print(host, options, page, formatTable(['hash', 'size'], rows) + more)
}

function print(host: CommandHost, { json }: Options, value: object, text: string): void {
  host.stdout.write(json ? `${JSON.stringify(value)}\n` : text)
}
