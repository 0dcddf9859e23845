import { createHmac, timingSafeEqual } from 'node:crypto'

import { InvalidRequestError } from '../errors.ts'

/** Longer URLs are refused by servers on the way. */
const URL_CHARS_MAX = 2048

/** Carries time and signature: `t=<seconds>,v1=<hex>`. */
export const SIGNATURE_HEADER = 'x-bzzz-signature'

/**
 * Checks where an answer shall be sent. Only hosts on the list are allowed: whoever can submit a
 * job could otherwise make the connector call anything that it reaches.
 * @throws InvalidRequestError
 */
export function requireCallbackURL(text: string, hosts: readonly string[]): string {
  const url = URL.canParse(text) && text.length <= URL_CHARS_MAX ? new URL(text) : null
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new InvalidRequestError('X-Callback-Url is not a URL of http or https.')
  }
  if (!hosts.some((host) => hostMatches(host, url))) {
    throw new InvalidRequestError(
      `X-Callback-Url names the host ${url.hostname}, which BZZZ_CALLBACK_HOSTS does not.`,
    )
  }
  return url.href
}

/** `*` any, `*.example.org` those below, else the host itself, with or without its port. */
function hostMatches(pattern: string, { hostname, host }: URL): boolean {
  if (pattern === '*') return true
  if (pattern.startsWith('*.')) return hostname.endsWith(pattern.slice(1))
  return pattern === hostname || pattern === host
}

/** HMAC-SHA256 over `<seconds>.<body>`, so that an old delivery cannot be sent again unseen. */
export function signCallback(secret: string, body: Uint8Array, seconds: number): string {
  return `t=${seconds},v1=${hmac(secret, body, seconds)}`
}

/** For receivers: whether the header is ours and not older than `ageSecondsMax`. */
export function verifyCallback(
  secret: string,
  body: Uint8Array,
  header: string,
  { nowSeconds, ageSecondsMax }: { nowSeconds: number; ageSecondsMax: number },
): boolean {
  const match = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(header)
  if (!match) return false
  const seconds = Number(match[1])
  if (Math.abs(nowSeconds - seconds) > ageSecondsMax) return false
  return timingSafeEqual(Buffer.from(match[2]!), Buffer.from(hmac(secret, body, seconds)))
}

function hmac(secret: string, body: Uint8Array, seconds: number): string {
  return createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex')
}
