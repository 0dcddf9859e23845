import { hashBytes } from '../../shared/blob/hash.ts'
import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { HashMismatchError, InvalidChunkError } from '../../shared/errors.ts'
import { MiB } from '../../shared/limits.ts'

/** The largest thing read whole: a chunk of one entry. */
const BYTES_MAX = 8 * MiB

export interface ReadFrom {
  bytes: Buffer
  /** The node that had it, as the daemon says. */
  servedBy: string
}

/** A blob whole, hashed again here. @throws HashMismatchError, RemoteError */
export async function readBlobFrom(
  daemon: Pick<DaemonClient, 'getBlob'>,
  hash: string,
  options: CallOptions,
): Promise<ReadFrom> {
  const { body, headers } = await daemon.getBlob(hash, options)
  if (Number(headers['content-length'] ?? 0) > BYTES_MAX) {
    body.destroy()
    throw new InvalidChunkError(`The blob ${hash} is too large to be a part of a log.`)
  }
  const bytes = Buffer.from(await body.arrayBuffer())
  if (hashBytes(bytes) !== hash) throw new HashMismatchError(`The blob ${hash} arrived changed.`)
  return { bytes, servedBy: String(headers['bzzz-served-by'] ?? '') }
}

export async function readBlob(
  daemon: Pick<DaemonClient, 'getBlob'>,
  hash: string,
  options: CallOptions,
): Promise<Buffer> {
  return (await readBlobFrom(daemon, hash, options)).bytes
}
