import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'

import { publicKeyToProtobuf } from '@libp2p/crypto/keys'

import type { NodeKey } from '../../p2p-daemon/mesh/node-key.ts'

const ECDSA_WITH_SHA256 = '06082a8648ce3d040302'
const LIBP2P_EXTENSION = '060a2b0601040183a25a0101'
const TRUE = '0101ff'
const DAY_MS = 86_400_000

export interface Certificate {
  cert: string
  key: string
}

/** A fresh key for certificates; it says nothing about who has it. */
export function createCertificateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/**
 * A self-signed certificate as anybody can make one. With `claim` it carries libp2p's extension:
 * that the holder of `signedFor` is the node `nodeKey`, which is true only when `signedFor` is
 * the certificate's own key.
 */
export async function createCertificate(
  init: {
    key?: KeyObject
    claim?: { nodeKey: NodeKey; signedFor: KeyObject }
    validFromMs?: number
    validToMs?: number
  } = {},
): Promise<Certificate> {
  const key = init.key ?? createCertificateKey()
  const algorithm = sequence(Buffer.from(ECDSA_WITH_SHA256, 'hex'))
  const { validFromMs = Date.now() - DAY_MS, validToMs = Date.now() + DAY_MS } = init
  const body = sequence(
    // Version 3, serial number 7, and names that are empty.
    der(0xa0, integer(2)),
    integer(7),
    algorithm,
    sequence(),
    sequence(time(validFromMs), time(validToMs)),
    sequence(),
    publicKeyOf(key),
    ...(init.claim ? [der(0xa3, sequence(await extension(init.claim)))] : []),
  )
  const signature = sign('sha256', body, key)
  const whole = sequence(body, algorithm, der(0x03, Buffer.concat([Buffer.of(0), signature])))
  const base64 = whole.toString('base64').replace(/.{64}/g, '$&\n')
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

async function extension(claim: { nodeKey: NodeKey; signedFor: KeyObject }): Promise<Buffer> {
  const { privateKey } = claim.nodeKey
  const message = Buffer.concat([
    Buffer.from('libp2p-tls-handshake:'),
    publicKeyOf(claim.signedFor),
  ])
  const signature = await privateKey.sign(message)
  const value = sequence(
    der(0x04, Buffer.from(publicKeyToProtobuf(privateKey.publicKey))),
    der(0x04, Buffer.from(signature)),
  )
  return sequence(Buffer.from(LIBP2P_EXTENSION, 'hex'), Buffer.from(TRUE, 'hex'), der(0x04, value))
}

function publicKeyOf(key: KeyObject): Buffer {
  const jwk = key.export({ format: 'jwk' })
  const point = Buffer.from(`${jwk.x}`, 'base64url')
  const rest = Buffer.from(`${jwk.y}`, 'base64url')
  const algorithm = sequence(
    Buffer.from('06072a8648ce3d0201', 'hex'),
    Buffer.from('06082a8648ce3d030107', 'hex'),
  )
  return sequence(algorithm, der(0x03, Buffer.concat([Buffer.of(0, 4), point, rest])))
}

function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')
  return der(0x18, Buffer.from(text))
}

function integer(value: number): Buffer {
  return der(0x02, Buffer.of(value))
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts))
}

function der(tag: number, value: Buffer): Buffer {
  const { length } = value
  const lengthBytes =
    length < 0x80
      ? [length]
      : length < 0x100
        ? [0x81, length]
        : [0x82, Math.floor(length / 0x100), length % 0x100]
  return Buffer.concat([Buffer.of(tag, ...lengthBytes), value])
}
