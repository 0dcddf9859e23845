import type { Readable } from 'node:stream'

import {
  formatAddress,
  parseAddress,
  type Address,
  type SemanticAddress,
} from '../../shared/address/address.ts'
import { InvalidAddressError } from '../../shared/errors.ts'
import type { RecordJSON } from '../../shared/record/record.ts'
import { call, callJSON, type Answer } from './http.ts'

export interface Written {
  address: string
  version: number
  hash: string
  size: number
  mediaType: string
  replicas: string[]
}

export interface WriteOptions {
  mediaType: string
  /** Null for a stream whose end is not known. */
  sizeBytes: number | null
  /** The content or the version that must stand there now. */
  ifMatch?: string
  ifVersion?: number
}

export interface History {
  records: RecordJSON[]
  /** The version that the next page goes on before; null on the last page. */
  next: number | null
}

/** Speaks to the resolve function, on its own port or below a gateway. */
export class ResolveClient {
  readonly #url: string
  readonly #token: string

  constructor({ url, token }: { url: string; token: string }) {
    this.#url = url
    this.#token = token
  }

  /** @throws RemoteError (BZZZ_VERSION_CONFLICT and others), DaemonUnavailableError */
  async put(
    address: string,
    body: Readable | Buffer,
    options: WriteOptions,
    signal: AbortSignal,
  ): Promise<Written> {
    const target = parseAddress(address)
    if (target.kind === 'content') {
      throw new InvalidAddressError('Content is stored under a name; its hash follows from it.')
    }
    const { mediaType, sizeBytes, ifMatch, ifVersion } = options
    const query = ifVersion === undefined ? {} : { version: String(ifVersion) }
    return callJSON<Written>(this.#locate(target, query), {
      method: 'PUT',
      token: this.#token,
      headers: {
        'content-type': mediaType,
        ...(sizeBytes !== null && { 'content-length': String(sizeBytes) }),
        ...(ifMatch !== undefined && { 'if-match': quote(ifMatch) }),
      },
      body,
      signal,
    })
  }

  get(address: string, signal: AbortSignal): Promise<Answer> {
    return call(this.#locate(parseAddress(address), {}), { token: this.#token, signal })
  }

  record(address: string, signal: AbortSignal): Promise<RecordJSON & { forks: number }> {
    const target = semantic(address)
    return callJSON(this.#locate(target, { record: '' }), { token: this.#token, signal })
  }

  history(
    address: string,
    { before, limit }: { before?: number; limit: number },
    signal: AbortSignal,
  ): Promise<History> {
    const query = {
      history: '',
      limit: String(limit),
      ...(before !== undefined && { before: String(before) }),
    }
    return callJSON(this.#locate(semantic(address), query), { token: this.#token, signal })
  }

  /** The canonical text keeps its percent-encoding: it is decoded once, at the other end. */
  #locate(address: Address, query: Record<string, string>): string {
    const text = formatAddress(withoutFragment(address)).slice('bzzz://'.length)
    const added = new URLSearchParams(query).toString()
    if (added === '') return `${this.#url}/${text}`
    return `${this.#url}/${text}${text.includes('?') ? '&' : '?'}${added}`
  }
}

function semantic(address: string): SemanticAddress {
  const parsed = parseAddress(address)
  if (parsed.kind === 'semantic') return parsed
  throw new InvalidAddressError('A content address has no record: it is its own content.')
}

function withoutFragment(address: Address): Address {
  if (address.kind === 'content') return address
  const { fragment: _fragment, ...rest } = address
  return rest
}

function quote(hash: string): string {
  return hash.startsWith('"') ? hash : `"${hash}"`
}
