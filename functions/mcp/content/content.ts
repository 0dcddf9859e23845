import {
  formatAddress,
  parseAddress,
  recordName,
  type SemanticAddress,
} from '../../../shared/address/address.ts'
import type { CallOptions, DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import { BlobNotFoundError, InvalidAddressError, RemoteError } from '../../../shared/errors.ts'
import type { RecordJSON } from '../../../shared/record/record.ts'

/** What an address stands for: content, and the record that names it when there is one. */
export interface Found {
  /** As it was asked for, in its canonical spelling. */
  address: string
  hash: string
  mediaType: string
  record: RecordJSON | null
  forks: number
}

export interface Part {
  bytes: Buffer
  offset: number
  sizeBytes: number
}

export const OCTETS = 'application/octet-stream'

export function contentAddress(hash: string): string {
  return `bzzz://b3/${hash}`
}

/** @throws InvalidAddressError for what names content by its hash */
export function parseName(text: string): SemanticAddress {
  const address = parseAddress(text)
  if (address.kind === 'semantic') return address
  throw new InvalidAddressError('A name is needed here, as bzzz://agent@project/path.')
}

/** @throws InvalidAddressError, RemoteError */
export async function locate(
  daemon: Pick<DaemonClient, 'resolve'>,
  text: string,
  options: CallOptions,
): Promise<Found> {
  const parsed = parseAddress(text)
  if (parsed.kind === 'content') {
    if (parsed.path !== undefined) {
      throw new InvalidAddressError('Paths inside content are not served; read the content whole.')
    }
    const { hash } = parsed
    return { address: recordName(parsed), hash, mediaType: OCTETS, record: null, forks: 0 }
  }
  const { fragment: _fragment, ...whole } = parsed
  const address = formatAddress(whole)
  const { record, forks } = await daemon.resolve(address, options)
  return { address, hash: record.hash, mediaType: record.mediaType, record, forks }
}

/** @throws RemoteError */
export async function readPart(
  daemon: Pick<DaemonClient, 'getBlob'>,
  hash: string,
  { offset, lengthMax }: { offset: number; lengthMax: number },
  options: CallOptions,
): Promise<Part> {
  if (offset === 0) {
    // A range of nothing cannot be asked for, and content may be empty.
    const sizeBytes = await sizeOf(daemon, hash, options)
    if (sizeBytes === 0) return { bytes: Buffer.alloc(0), offset, sizeBytes }
  }
  const range = `bytes=${offset}-${offset + lengthMax - 1}`
  const { body, headers } = await daemon.getBlob(hash, { ...options, range })
  const bytes = Buffer.from(await body.arrayBuffer())
  const sizeBytes = Number(/\/(\d+)$/.exec(String(headers['content-range']))?.[1])
  return { bytes, offset, sizeBytes }
}

/** @throws BlobNotFoundError, RemoteError */
export async function sizeOf(
  daemon: Pick<DaemonClient, 'getBlob'>,
  hash: string,
  options: CallOptions,
): Promise<number> {
  const asked = daemon.getBlob(hash, { ...options, head: true })
  const { body, headers } = await asked.catch((error: unknown) => {
    // An answer to HEAD has no body that could say more than its status.
    const isMissing = error instanceof RemoteError && error.status === 404
    throw isMissing ? new BlobNotFoundError(`No node that answers holds ${hash}.`) : error
  })
  await body.dump()
  return Number(headers['content-length'])
}

/**
 * The bytes as text, or null when they are none: not UTF-8, or with control characters that no text
 * has. A character that is cut at the end of a part is left out: `Buffer.byteLength` of the text is
 * what of the part was used.
 */
export function asText(bytes: Buffer, { isEnd }: { isEnd: boolean }): string | null {
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const text = decoder.decode(bytes, { stream: !isEnd })
    return CONTROLS.test(text) ? null : text
  } catch {
    return null
  }
}

// oxlint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001a\u001c-\u001f]/
