import type { FastifyRequest } from 'fastify'

import { recordName, type SemanticAddress } from '../../shared/address/address.ts'
import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { InvalidRequestError, RemoteError, VersionConflictError } from '../../shared/errors.ts'
import { checkBodySize, receiveBody } from '../../shared/http/body.ts'
import { MEDIA_TYPE_CHARS_MAX } from '../../shared/limits.ts'
import type { RecordJSON } from '../../shared/record/record.ts'
import type { RecordCache } from './record-cache.ts'

/** What a successful PUT answers. */
export interface Written {
  address: string
  version: number
  hash: string
  size: number
  mediaType: string
  replicas: string[]
}

interface Condition {
  ifHash?: string
  ifVersion?: number
}

const DEFAULT_MEDIA_TYPE = 'application/octet-stream'

/** `type/subtype; parameters`, printable ASCII: it will stand in a header again. */
const MEDIA_TYPE_PATTERN = /^[\w.+-]+\/[\w.+-]+(?:\s*;[\x20-\x7e]*)?$/

/** Writes content to an address: first the blob to its holders, then the record that names it. */
export class ContentWriter {
  readonly #daemon: Pick<DaemonClient, 'putBlob' | 'putAddress'>
  readonly #records: RecordCache
  readonly #putBytesMax: number

  constructor(
    components: {
      daemon: Pick<DaemonClient, 'putBlob' | 'putAddress'>
      records: RecordCache
    },
    init: { putBytesMax: number },
  ) {
    this.#daemon = components.daemon
    this.#records = components.records
    this.#putBytesMax = init.putBytesMax
  }

  /** @throws VersionConflictError, BodyTooLargeError, UploadCutError, RemoteError */
  async write(
    request: FastifyRequest,
    address: SemanticAddress,
    versionSeen: string | undefined,
    options: CallOptions,
  ): Promise<{ created: boolean; written: Written }> {
    checkBodySize(request, this.#putBytesMax)
    const mediaType = mediaTypeOf(request)
    const condition = conditionOf(request, versionSeen)
    const name = recordName(address)
    await this.#refuseEarly(name, condition, options)
    const length = request.headers['content-length']
    const blob = await this.#daemon.putBlob(receiveBody(request), {
      ...options,
      project: address.project,
      ...(length !== undefined && { sizeBytes: Number(length) }),
    })
    const write = { hash: blob.hash, mediaType, ...condition }
    const { status, record } = await this.#daemon.putAddress(name, write, options)
    await this.#records.store(name, { record, forks: 0 })
    return { created: status === 201, written: toWritten(record, blob.replicas) }
  }

  /** A condition that fails already is answered before the body is asked for. */
  async #refuseEarly(name: string, condition: Condition, options: CallOptions): Promise<void> {
    const { ifHash, ifVersion } = condition
    if (ifHash === undefined && ifVersion === undefined) return
    const current = await this.#current(name, options)
    const hashFails = ifHash !== undefined && current?.hash !== ifHash
    const versionFails = ifVersion !== undefined && (current?.version ?? 0) !== ifVersion
    if (!hashFails && !versionFails) return
    const now = current ? `stands at version ${current.version} now` : 'does not exist'
    throw new VersionConflictError(`The address ${now}.`, current ?? null)
  }

  async #current(name: string, options: CallOptions): Promise<RecordJSON | undefined> {
    try {
      return (await this.#records.resolve(name, { ...options, fresh: true })).record
    } catch (error) {
      if (error instanceof RemoteError && error.code === 'BZZZ_ADDRESS_NOT_FOUND') return undefined
      throw error
    }
  }
}

function mediaTypeOf(request: FastifyRequest): string {
  const given = request.headers['content-type'] ?? DEFAULT_MEDIA_TYPE
  if (given.length > MEDIA_TYPE_CHARS_MAX || !MEDIA_TYPE_PATTERN.test(given)) {
    throw new InvalidRequestError('The content type is not of the form type/subtype.')
  }
  return given
}

/** `If-Match: "<hash>"`, `If-None-Match: *` (must not exist yet), `?version=N` (what was seen). */
function conditionOf(request: FastifyRequest, versionSeen: string | undefined): Condition {
  const condition: Condition = {}
  const ifMatch = request.headers['if-match']
  if (ifMatch !== undefined) {
    const hash = /^"([0-9a-f]{64})"$/.exec(ifMatch.trim())?.[1]
    if (!hash) throw new InvalidRequestError('If-Match takes one "<hash>" in quotes.')
    condition.ifHash = hash
  }
  if (request.headers['if-none-match']?.trim() === '*') condition.ifVersion = 0
  if (versionSeen !== undefined) {
    if (!/^\d{1,15}$/.test(versionSeen)) {
      throw new InvalidRequestError(
        'The version condition is the number last seen; 0 means none yet.',
      )
    }
    condition.ifVersion = Number(versionSeen)
  }
  return condition
}

function toWritten(record: RecordJSON, replicas: string[]): Written {
  const { address, version, hash, size, mediaType } = record
  return { address, version, hash, size, mediaType, replicas }
}
