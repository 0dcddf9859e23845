import { Readable } from 'node:stream'

import { Pool, type Dispatcher } from 'undici'

import { BLOB_BATCH_MEDIA_TYPE, decodeBatch, encodeBatch } from '../blob/batch.ts'
import { hashBytes } from '../blob/hash.ts'
import { DaemonUnavailableError, HashMismatchError, type RemoteError } from '../errors.ts'
import { fromWireError } from '../http/wire-error.ts'
import type { RecordJSON } from '../record/record.ts'

/** Connections to one daemon; a function has at most this many requests in flight to it. */
const CONNECTIONS_MAX = 64

/** A daemon on the network answers a connect in milliseconds; longer means it is gone. */
const CONNECT_TIMEOUT_MS = 2_000

/** A put answers when a quorum holds the blob; large ones take their time after the last byte. */
const HEADERS_TIMEOUT_MS = 600_000

/** A body that stands still for this long is dead. */
const BODY_IDLE_TIMEOUT_MS = 60_000

/** An endpoint that failed is asked last for this long. */
const AVOID_AFTER_FAILURE_MS = 2_000

/** Error answers are read up to here; ours are far shorter. */
const ERROR_BODY_BYTES_MAX = 64 * 1024

/** Answers that another daemon may do better. */
const TRY_ANOTHER = new Set([502, 503])

export interface CallOptions {
  /** Bearer token of the caller: the daemon checks it again. */
  token: string
  signal?: AbortSignal
  /** W3C trace context of the caller, for the logs of whoever serves this. */
  traceparent?: string | undefined
}

/** Any other route of the daemon that takes and answers JSON. */
export interface JSONCall extends CallOptions {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  path: string
  json?: object
  headers?: Record<string, string>
}

export interface Resolution {
  record: RecordJSON
  forks: number
}

export interface BlobPutAnswer {
  hash: string
  size: number
  replicas: string[]
  underReplicated: boolean
}

/** One blob of a batch, in the order in which they were sent. */
export interface BatchPutAnswer {
  hash: string
  size: number
  /** It was there already. */
  existed: boolean
  /** How many nodes hold it durably. */
  replicas: number
  underReplicated: boolean
}

export interface BlobAnswer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Dispatcher.ResponseData['body']
}

interface Endpoint {
  url: string
  pool: Pool
  failedAtMs: number
}

interface Call extends CallOptions {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  path: string
  headers?: Record<string, string>
  /** Made anew for each attempt; a stream that has begun to flow is not sent twice. */
  body?: () => string | Uint8Array | AsyncIterable<Uint8Array>
}

/**
 * Speaks to the daemons of a list, the first one (its own node's) before the others. A request
 * moves on to the next daemon when one cannot be reached or says that it cannot serve now.
 */
export class DaemonClient {
  readonly #endpoints: Endpoint[]

  constructor(init: { endpoints: readonly string[] }) {
    this.#endpoints = init.endpoints.map((url) => ({
      url,
      failedAtMs: Number.NEGATIVE_INFINITY,
      pool: new Pool(url, {
        connections: CONNECTIONS_MAX,
        connectTimeout: CONNECT_TIMEOUT_MS,
        headersTimeout: HEADERS_TIMEOUT_MS,
        bodyTimeout: BODY_IDLE_TIMEOUT_MS,
      }),
    }))
  }

  /** @throws RemoteError (BZZZ_ADDRESS_NOT_FOUND ...), DaemonUnavailableError */
  resolve(address: string, options: CallOptions & { fresh?: boolean }): Promise<Resolution> {
    const headers: Record<string, string> = options.fresh ? { 'cache-control': 'no-cache' } : {}
    const path = `/v1/resolve?address=${encodeURIComponent(address)}`
    return this.#json({ ...options, method: 'GET', path, headers })
  }

  history(
    address: string,
    options: CallOptions & { before?: string; limit?: string },
  ): Promise<{ records: RecordJSON[]; next: number | null }> {
    const query = new URLSearchParams({ address })
    if (options.before !== undefined) query.set('before', options.before)
    if (options.limit !== undefined) query.set('limit', options.limit)
    return this.#json({ ...options, method: 'GET', path: `/v1/addresses?${query}` })
  }

  putBlob(
    body: AsyncIterable<Uint8Array>,
    options: CallOptions & { sizeBytes?: number; project?: string },
  ): Promise<BlobPutAnswer & { status: number }> {
    const headers: Record<string, string> = { 'content-type': 'application/octet-stream' }
    if (options.sizeBytes !== undefined) headers['content-length'] = String(options.sizeBytes)
    // Lets the daemon refuse what the project has no room for before the body is sent.
    if (options.project !== undefined) headers['bzzz-project'] = options.project
    return this.#json({ ...options, method: 'PUT', path: '/v1/blobs', headers, body: () => body })
  }

  /**
   * Many small blobs in one request, within the bounds of `shared/blob/batch.ts`. All of them are
   * stored as `ack` asks for when this resolves; after a failure it may be repeated.
   */
  async putBlobs(
    blobs: readonly Uint8Array[],
    options: CallOptions & { project?: string; ack?: '1' | 'quorum' | 'all' },
  ): Promise<BatchPutAnswer[]> {
    const { project, ack } = options
    const body = encodeBatch(blobs)
    const { items } = await this.#json<{ items: BatchPutAnswer[] }>({
      ...options,
      method: 'POST',
      path: `/v1/blobs/batch${ack === undefined ? '' : `?ack=${ack}`}`,
      headers: batchHeaders(project),
      body: () => body,
    })
    return items
  }

  /**
   * Many small blobs in one answer, hashed again here, in the order of their hashes.
   * @throws HashMismatchError, RemoteError (BZZZ_BLOB_NOT_FOUND for any of them)
   */
  async getBlobs(
    hashes: readonly string[],
    options: CallOptions,
  ): Promise<{ blobs: Buffer[]; servedBy: string }> {
    const answer = await this.#call({
      ...options,
      method: 'POST',
      path: '/v1/blobs/batch/read',
      headers: { 'content-type': 'application/json' },
      body: () => JSON.stringify({ hashes }),
    })
    const blobs = decodeBatch(Buffer.from(await answer.body.arrayBuffer()))
    if (!hashes.every((hash, index) => blobs[index] && hashBytes(blobs[index]) === hash)) {
      throw new HashMismatchError('The blobs arrived changed.')
    }
    return { blobs, servedBy: String(answer.headers['bzzz-served-by'] ?? '') }
  }

  /**
   * As a put of blobs that are there already: until an address leads to them they are kept for as
   * long. Their sizes in order; null for one that nobody has.
   */
  async retain(hashes: readonly string[], options: CallOptions): Promise<(number | null)[]> {
    const { sizes } = await this.#json<{ sizes: (number | null)[] }>({
      ...options,
      method: 'POST',
      path: '/v1/blobs/retain',
      headers: { 'content-type': 'application/json' },
      body: () => JSON.stringify({ hashes }),
    })
    return sizes
  }

  putAddress(
    address: string,
    write: { hash: string; mediaType: string; ifHash?: string; ifVersion?: number },
    options: CallOptions,
  ): Promise<{ status: number; record: RecordJSON; holders: string[] }> {
    return this.#json({
      ...options,
      method: 'PUT',
      path: `/v1/addresses?address=${encodeURIComponent(address)}`,
      headers: { 'content-type': 'application/json' },
      body: () => JSON.stringify(write),
    })
  }

  /**
   * `putBlobs` and `putAddress` of the last blob in one request: the record stands when all blobs
   * are stored as `ack` asks for.
   */
  putNamed(
    address: string,
    blobs: readonly Uint8Array[],
    write: { hash: string; mediaType: string; ifVersion?: number },
    options: CallOptions & { project?: string },
  ): Promise<{ status: number; record: RecordJSON; holders: string[] }> {
    const { hash, mediaType } = write
    const query = new URLSearchParams({ address, hash, mediaType })
    if (write.ifVersion !== undefined) query.set('ifVersion', String(write.ifVersion))
    const body = encodeBatch(blobs)
    return this.#json({
      ...options,
      method: 'PUT',
      path: `/v1/addresses/batch?${query}`,
      headers: batchHeaders(options.project),
      body: () => body,
    })
  }

  /** Settles a fork of an address with the content of the end that `pick` names. */
  merge(
    address: string,
    write: { pick: string; ifVersion?: number },
    options: CallOptions,
  ): Promise<{ record: RecordJSON }> {
    return this.#json({
      ...options,
      method: 'POST',
      path: `/v1/merges?address=${encodeURIComponent(address)}`,
      headers: { 'content-type': 'application/json' },
      body: () => JSON.stringify(write),
    })
  }

  /** Addresses by a pattern, in their order, of those that the token covers. */
  search(
    pattern: string,
    options: CallOptions & { after?: string; limit?: number },
  ): Promise<{ records: RecordJSON[]; next: string | null; partial: boolean }> {
    const query = new URLSearchParams({ pattern })
    if (options.after !== undefined) query.set('after', options.after)
    if (options.limit !== undefined) query.set('limit', String(options.limit))
    return this.#json({ ...options, method: 'GET', path: `/v1/search?${query}` })
  }

  /** Keeps a blob whatever refers to it. */
  async pin(hash: string, reason: string, options: CallOptions): Promise<void> {
    const headers = { 'content-type': 'application/json' }
    const body = () => JSON.stringify({ reason })
    const path = `/v1/pins/${hash}`
    const answer = await this.#call({ ...options, method: 'PUT', path, headers, body })
    await answer.body.dump()
  }

  /** @throws RemoteError (BZZZ_PIN_NOT_FOUND) */
  async unpin(hash: string, options: CallOptions): Promise<void> {
    const answer = await this.#call({ ...options, method: 'DELETE', path: `/v1/pins/${hash}` })
    await answer.body.dump()
  }

  /** The answer as it streams in, 200, 206 or 304. The caller consumes or destroys `body`. */
  async getBlob(
    hash: string,
    options: CallOptions & { range?: string; head?: boolean },
  ): Promise<BlobAnswer> {
    const headers: Record<string, string> = options.range ? { range: options.range } : {}
    const method = options.head ? 'HEAD' : 'GET'
    const answer = await this.#call({ ...options, method, path: `/v1/blobs/${hash}`, headers })
    return { status: answer.statusCode, headers: answer.headers, body: answer.body }
  }

  /** A route that this class has no method for. An answer without a body is an empty object. */
  async call<T>({ json, ...call }: JSONCall): Promise<T> {
    const headers: Record<string, string> = { ...call.headers }
    if (json) headers['content-type'] = 'application/json'
    const answer = await this.#call({
      ...call,
      headers,
      ...(json && { body: () => JSON.stringify(json) }),
    })
    if (answer.statusCode !== 204) return (await answer.body.json()) as T
    await answer.body.dump()
    return {} as T
  }

  /** True when at least one daemon says that it can serve. */
  async isReady(signal: AbortSignal): Promise<boolean> {
    const asked = this.#endpoints.map(async ({ pool }) => {
      const answer = await pool.request({ method: 'GET', path: '/readyz', signal })
      await answer.body.dump()
      if (answer.statusCode !== 200) throw new Error('not ready')
    })
    return Promise.any(asked).then(
      () => true,
      () => false,
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#endpoints.map(({ pool }) => pool.destroy()))
  }

  async #json<T>(call: Call): Promise<T & { status: number }> {
    const answer = await this.#call(call)
    return { ...((await answer.body.json()) as T), status: answer.statusCode }
  }

  async #call(call: Call): Promise<Dispatcher.ResponseData> {
    let flowing = false
    let last: RemoteError | undefined
    for (const endpoint of this.#inOrder()) {
      call.signal?.throwIfAborted()
      try {
        const answer = await this.#attempt(endpoint, call, () => (flowing = true))
        if (answer.statusCode < 400) return answer
        last = fromWireError(answer.statusCode, await readError(answer))
        if (!TRY_ANOTHER.has(answer.statusCode) || flowing) throw last
      } catch (error) {
        if (error === last || call.signal?.aborted || isOurs(error)) throw error
        endpoint.failedAtMs = performance.now()
        if (flowing) throw unavailable(error)
      }
    }
    throw last ?? unavailable(undefined)
  }

  #attempt(endpoint: Endpoint, call: Call, onFlow: () => void): Promise<Dispatcher.ResponseData> {
    return endpoint.pool.request({
      method: call.method,
      path: call.path,
      headers: {
        ...call.headers,
        ...(call.traceparent !== undefined && { traceparent: call.traceparent }),
        authorization: `Bearer ${call.token}`,
      },
      body: toBody(call.body?.(), onFlow),
      ...(call.signal && { signal: call.signal }),
    })
  }

  #inOrder(): Endpoint[] {
    const avoidAfter = performance.now() - AVOID_AFTER_FAILURE_MS
    const good = this.#endpoints.filter((endpoint) => endpoint.failedAtMs < avoidAfter)
    return [...good, ...this.#endpoints.filter((endpoint) => !good.includes(endpoint))]
  }
}

function batchHeaders(project: string | undefined): Record<string, string> {
  const headers = { 'content-type': BLOB_BATCH_MEDIA_TYPE }
  return project === undefined ? headers : { ...headers, 'bzzz-project': project }
}

/** A stream is watched, because it can be sent once only. */
function toBody(body: ReturnType<NonNullable<Call['body']>> | undefined, onFlow: () => void) {
  if (body === undefined) return null
  if (typeof body === 'string' || body instanceof Uint8Array) return body
  return Readable.from(noticing(body, onFlow))
}

/** Tells when the first byte of a body leaves: from then on it cannot be sent to another daemon. */
async function* noticing(
  body: AsyncIterable<Uint8Array>,
  onFlow: () => void,
): AsyncIterable<Uint8Array> {
  for await (const chunk of body) {
    onFlow()
    yield chunk
  }
}

/** The body's own failure (cut short, too large) is the caller's, not the daemon's. */
function isOurs(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('BZZZ_')
}

async function readError(answer: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer.body) {
    length += (chunk as Buffer).length
    if (length > ERROR_BODY_BYTES_MAX) break
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function unavailable(cause: unknown): DaemonUnavailableError {
  return new DaemonUnavailableError('No daemon answers; try again shortly.', { cause })
}
