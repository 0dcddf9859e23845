import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { ConnectionProtector, MessageStream, MultiaddrConnection } from '@libp2p/interface'
import { preSharedKey } from '@libp2p/pnet'

import { InvalidConfigError, NetworkKeyConflictError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'

const HEADER = '/key/swarm/psk/1.0.0/\n/base16/\n'

const HEX = /^[0-9a-f]{64}$/

/**
 * The pre-shared key of the network, optional: where there is one, nothing can be read of a
 * connection without it, not even who is there. It is a second wall and no identity; TLS runs
 * inside. In `<dataDir>/config/network.key`, or given by the configuration, which goes first.
 */
export class NetworkKey {
  readonly #path: string
  readonly #configured: boolean
  #hex: string | undefined

  private constructor(path: string, hex: string | undefined, configured: boolean) {
    this.#path = path
    this.#hex = hex
    this.#configured = configured
  }

  /** @throws InvalidConfigError when what is given is no key */
  static async load(dataDir: string, configured?: string): Promise<NetworkKey> {
    const path = join(dataDir, 'config', 'network.key')
    if (configured !== undefined) {
      return new NetworkKey(path, parseNetworkKey(configured, 'BZZZ_NETWORK_KEY'), true)
    }
    try {
      return new NetworkKey(path, parseNetworkKey(await readFile(path, 'utf8'), path), false)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return new NetworkKey(path, undefined, false)
    }
  }

  /** 32 bytes in hex. */
  get hex(): string | undefined {
    return this.#hex
  }

  /** @throws NetworkKeyConflictError when the configuration says something else */
  assertCanAdopt(hex: string | undefined): void {
    if (this.#configured && hex !== this.#hex) {
      throw new NetworkKeyConflictError(
        'The cluster has another network key than BZZZ_NETWORK_KEY says: give it that, or none.',
      )
    }
  }

  /** Takes over the key of the cluster, from the next connection on. */
  async adopt(hex: string | undefined): Promise<void> {
    this.assertCanAdopt(hex)
    if (hex === undefined || hex === this.#hex) return
    await replaceFile(this.#path, HEADER + hex + '\n', 0o600)
    this.#hex = hex
  }
}

/**
 * Looks at the key anew for each connection. `onUnread` hears of one that closed before any of
 * it could be understood: the other side has another key, or none.
 */
export class NetworkProtector implements ConnectionProtector {
  readonly #key: Pick<NetworkKey, 'hex'>
  readonly #onUnread: (connection: MultiaddrConnection) => void
  readonly #understood = new WeakSet<MessageStream>()

  constructor(components: {
    key: Pick<NetworkKey, 'hex'>
    onUnread: (connection: MultiaddrConnection) => void
  }) {
    this.#key = components.key
    this.#onUnread = components.onUnread
  }

  async protect(connection: MessageStream, options?: object): Promise<MessageStream> {
    const { hex } = this.#key
    if (hex === undefined) return connection
    const secured = await protectorFor(hex)().protect(connection, options)
    secured.addEventListener('close', () => {
      // libp2p protects what a transport has made, so it has an address.
      if (!this.#understood.has(secured)) this.#onUnread(connection as MultiaddrConnection)
    })
    return secured
  }

  /** The two sides agreed on how to go on, so the key is the same. */
  understood(connection: MessageStream): void {
    this.#understood.add(connection)
  }
}

/** For libp2p. */
export function protectorFor(hex: string): ReturnType<typeof preSharedKey> {
  return preSharedKey({ psk: Buffer.from(HEADER + hex) })
}

/** A key as `bzzz node network-key` prints it, or its 64 hex digits. @throws InvalidConfigError */
function parseNetworkKey(text: string, source: string): string {
  const hex = text.replaceAll('\r', '').replace(HEADER, '').trim().toLowerCase()
  if (HEX.test(hex)) return hex
  throw new InvalidConfigError(
    `${source} holds no network key: make one with bzzz node network-key.`,
  )
}
