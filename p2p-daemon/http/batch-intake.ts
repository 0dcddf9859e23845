import type { FastifyRequest } from 'fastify'

import { BATCH_BYTES_MAX, decodeBatch } from '../../shared/blob/batch.ts'
import { BodyTooLargeError, OverloadedError } from '../../shared/errors.ts'
import { checkBodySize, receiveBody } from '../../shared/http/body.ts'
import type { Retention } from '../lifetime/retention.ts'
import type { Ack, ReplicatedPut, ReplicatedStore } from '../replication/replicated-store.ts'
import { BATCHES_BLOBS_MAX, BATCHES_BYTES_MAX, BATCHES_RETRY_SECONDS } from './constants.ts'

export interface BatchIntakeComponents {
  blobs: Pick<ReplicatedStore, 'put'>
  retention: Pick<Retention, 'note'>
}

/** A batch whose blobs are on their way to the disks. */
export interface IncomingBatch {
  items: readonly Buffer[]
  /** Rejects with what the first of them failed with, when all have ended. */
  stored: Promise<ReplicatedPut[]>
}

/** Batches that come in by HTTP: held in memory as a whole, so all of them together are bounded. */
export class BatchIntake {
  readonly #components: BatchIntakeComponents
  #bytes = 0
  #count = 0

  constructor(components: BatchIntakeComponents) {
    this.#components = components
  }

  /**
   * Reads a batch, begins to store it and hands it to `use`. What was stored stays when one of its
   * blobs fails: the same batch may be sent again.
   * @throws OverloadedError, BodyTooLargeError, InvalidRequestError
   */
  async take<T>(
    request: FastifyRequest,
    options: { ack?: Ack; signal: AbortSignal },
    use: (batch: IncomingBatch) => Promise<T>,
  ): Promise<T> {
    checkBodySize(request, BATCH_BYTES_MAX)
    // A body that does not say how long it is may be as long as it may.
    const length = Number(request.headers['content-length'] ?? BATCH_BYTES_MAX)
    if (this.#bytes + length > BATCHES_BYTES_MAX) throw tooMany()
    this.#bytes += length
    try {
      const items = decodeBatch(await received(request))
      if (this.#count + items.length > BATCHES_BLOBS_MAX) throw tooMany()
      this.#count += items.length
      const puts = Promise.allSettled(
        items.map((item) => this.#components.blobs.put(item, options)),
      )
      try {
        return await use({ items, stored: this.#stored(puts) })
      } finally {
        // All are waited for, also when one has failed: their memory is that of the body.
        await puts
        this.#count -= items.length
      }
    } finally {
      this.#bytes -= length
    }
  }

  #stored(puts: Promise<PromiseSettledResult<ReplicatedPut>[]>): Promise<ReplicatedPut[]> {
    const stored = puts.then((settled) => {
      const results = settled.map(valueOf)
      for (const result of results) this.#components.retention.note(result)
      return results
    })
    // Whoever takes the batch may fail before it looks.
    stored.catch(() => undefined)
    return stored
  }
}

function tooMany(): OverloadedError {
  return new OverloadedError('Too many batches are being stored.', BATCHES_RETRY_SECONDS)
}

function valueOf(put: PromiseSettledResult<ReplicatedPut>): ReplicatedPut {
  if (put.status === 'rejected') throw put.reason
  return put.value
}

async function received(request: FastifyRequest): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of receiveBody(request)) {
    length += chunk.byteLength
    if (length > BATCH_BYTES_MAX) {
      throw new BodyTooLargeError(`The batch is larger than ${BATCH_BYTES_MAX} bytes.`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
