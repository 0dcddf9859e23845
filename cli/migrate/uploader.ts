import { BATCH_BLOB_BYTES_MAX, BATCH_BYTES_MAX, BATCH_BLOBS_MAX } from '../../shared/blob/batch.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { findConnection } from '../client/connection.ts'
import type { CommandHost } from '../host.ts'
import type { Uploader } from './collect.ts'

/** A batch is sent when it has this much: half of what one may have. */
const SEND_BYTES = BATCH_BYTES_MAX / 2

/** Sends bodies to the daemons, small ones together. */
export async function withUploader<T>(
  host: CommandHost,
  options: { data?: string },
  use: (uploader: Uploader) => Promise<T>,
): Promise<T> {
  const { nodes, token } = await findConnection(host, options.data)
  const daemon = new DaemonClient({ endpoints: nodes.map(({ http }) => http) })
  const call = { token, signal: host.signal }
  let batch: Buffer[] = []
  let bytes = 0
  const flush = async () => {
    if (batch.length > 0) await daemon.putBlobs(batch, call)
    batch = []
    bytes = 0
  }
  const putStream: Uploader['putStream'] = async (stream, sizeBytes) =>
    (await daemon.putBlob(stream, { ...call, sizeBytes })).hash
  try {
    return await use({
      put: async (body) => {
        if (body.length > BATCH_BLOB_BYTES_MAX) {
          await putStream(once(body), body.length)
          return
        }
        batch.push(body)
        bytes += body.length
        if (bytes >= SEND_BYTES || batch.length === BATCH_BLOBS_MAX) await flush()
      },
      putStream,
      flush,
    })
  } finally {
    await daemon.close()
  }
}

async function* once(body: Buffer): AsyncIterable<Uint8Array> {
  yield body
}
