import { isIP } from 'node:net'

import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'

import { InvalidConfigError } from '../../shared/errors.ts'
import { isLoopbackHost } from '../../shared/http/loopback.ts'
import { ADDRESS_CHARS_MAX, BOOTSTRAP_MAX } from './constants.ts'

const HOST_PROTOCOLS = new Set(['ip4', 'ip6', 'dns', 'dns4', 'dns6'])
const DNS_NAME = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i

/**
 * A bootstrap entry: `host:port` (DHT_BOOTSTRAP_NODES), where whoever answers must prove an
 * identity on the allow-list, or a full multiaddr, with or without `/p2p/<peer id>`.
 * @throws InvalidConfigError
 */
export function parseBootstrapAddress(text: string): Multiaddr {
  const source = text.startsWith('/') ? text : fromHostAndPort(text)
  const address = source === undefined ? undefined : parseTCPAddress(source)
  if (!address) {
    throw new InvalidConfigError(`${text} is neither host:port nor a TCP multiaddr.`)
  }
  return address
}

/** @throws InvalidConfigError naming the first entry that cannot be used */
export function parseBootstrapAddresses(texts: readonly string[]): Multiaddr[] {
  if (texts.length > BOOTSTRAP_MAX) {
    throw new InvalidConfigError(`More than ${BOOTSTRAP_MAX} bootstrap nodes are given.`)
  }
  return texts.map((text) => parseBootstrapAddress(text))
}

/** A multiaddr of the form `/<host>/tcp/<port>[/p2p/<peer id>]`; undefined for anything else. */
export function parseTCPAddress(text: string): Multiaddr | undefined {
  if (text.length > ADDRESS_CHARS_MAX) return undefined
  let address: Multiaddr
  try {
    address = multiaddr(text)
  } catch {
    return undefined
  }
  const [host, transport, identity, ...rest] = address.getComponents()
  const dialable = HOST_PROTOCOLS.has(host?.name ?? '') && transport?.name === 'tcp'
  if (!dialable || Number(transport.value) === 0 || rest.length > 0) return undefined
  return identity === undefined || identity.name === 'p2p' ? address : undefined
}

/** Where a listener of the mesh is bound: an IP address or a name that this machine has. */
export function listenAddress(host: string, port: number): string {
  const version = isIP(host)
  return `/${version === 0 ? 'dns4' : `ip${version}`}/${host}/tcp/${port}`
}

/** The peer id at the end of an address, if it has one. */
export function peerIdOf(address: Multiaddr): string | undefined {
  return address.getComponents().find(({ name }) => name === 'p2p')?.value
}

/** The host of an address that can be dialled directly: an IP address or a DNS name. */
export function hostOf(address: string): string | undefined {
  return parseTCPAddress(address)?.getComponents()[0]?.value
}

/** The address without its peer id: what is kept and told to others. */
export function withoutPeerId(address: Multiaddr): string {
  const peerId = peerIdOf(address)
  return peerId === undefined
    ? address.toString()
    : address.decapsulate(`/p2p/${peerId}`).toString()
}

/**
 * What a node announces of itself: the loopback addresses only when there are no others, because
 * on another machine they lead somewhere else.
 */
export function ownAddresses(addresses: readonly Multiaddr[]): string[] {
  const usable = addresses.filter((address) => parseTCPAddress(address.toString()))
  const remote = usable.filter((address) => !isLoopback(address))
  return (remote.length > 0 ? remote : usable).map((address) => withoutPeerId(address))
}

function isLoopback(address: Multiaddr): boolean {
  return isLoopbackHost(address.getComponents()[0]?.value ?? '')
}

function fromHostAndPort(text: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text)
  const host = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  if (!(port >= 1 && port <= 65_535)) return undefined
  const version = isIP(host)
  if (version === 0 && !DNS_NAME.test(host)) return undefined
  return `/${version === 0 ? 'dns4' : `ip${version}`}/${host}/tcp/${port}`
}
