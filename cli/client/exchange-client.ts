import type { Readable } from 'node:stream'

import { formatAddress, parseAddress } from '../../shared/address/address.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import {
  AddressNotFoundError,
  HashMismatchError,
  InvalidAddressError,
} from '../../shared/errors.ts'
import {
  decodeExchanges,
  EXCHANGES_BYTES_MAX,
  EXCHANGES_MEDIA_TYPE,
  type Exchange,
} from '../../shared/llm/exchange.ts'
import type { CommandHost } from '../host.ts'
import { findConnection } from './connection.ts'
import { ResolveClient } from './resolve-client.ts'

/** Reads what the llm-proxy recorded. */
export class ExchangeClient {
  readonly #resolve: ResolveClient
  readonly #signal: AbortSignal

  constructor(init: { resolve: ResolveClient; signal: AbortSignal }) {
    this.#resolve = init.resolve
    this.#signal = init.signal
  }

  static async open(host: CommandHost, options: { data?: string }): Promise<ExchangeClient> {
    const { resolveURL: url, token } = await findConnection(host, options.data)
    return new ExchangeClient({ resolve: new ResolveClient({ url, token }), signal: host.signal })
  }

  /**
   * The exchange that the fragment of an address names, or all of its batch.
   * @throws InvalidAddressError, AddressNotFoundError, HashMismatchError, RemoteError
   */
  async find(text: string): Promise<Exchange[]> {
    const address = parseAddress(text)
    if (address.kind === 'content') throw new InvalidAddressError('It is the address of content.')
    const { fragment, ...batch } = address
    const { headers, body } = await this.#resolve.get(formatAddress(batch), this.#signal)
    if (!String(headers['content-type']).startsWith(EXCHANGES_MEDIA_TYPE)) {
      await body.dump()
      throw new InvalidAddressError('There are no exchanges under this address.')
    }
    const bytes = Buffer.concat(await collect(body, EXCHANGES_BYTES_MAX))
    checkHash(bytes, String(headers['etag']).replaceAll('"', ''))
    const exchanges = decodeExchanges(bytes)
    if (fragment === undefined) return exchanges
    const found = exchanges.filter(({ id }) => id === fragment)
    if (found.length > 0) return found
    throw new AddressNotFoundError(
      `The batch does not hold the exchange ${fragment}: it goes on, or was not recorded.`,
    )
  }

  /** A whole blob, hashed again. @throws HashMismatchError, RemoteError */
  async read(hash: string): Promise<Buffer> {
    const { body } = await this.#resolve.get(`bzzz://b3/${hash}`, this.#signal)
    const bytes = Buffer.concat(await collect(body, Number.POSITIVE_INFINITY))
    checkHash(bytes, hash)
    return bytes
  }
}

function checkHash(bytes: Buffer, expected: string): void {
  const arrived = hashBytes(bytes)
  if (arrived === expected) return
  throw new HashMismatchError(`What arrived has the hash ${arrived} instead of ${expected}.`)
}

async function collect(body: Readable, bytesMax: number): Promise<Buffer[]> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    chunks.push(chunk as Buffer)
    length += (chunk as Buffer).length
    if (length > bytesMax) throw new InvalidAddressError('It is too long for a batch.')
  }
  return chunks
}
