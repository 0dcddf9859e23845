import { validateHostHeader, validateOriginHeader } from '@modelcontextprotocol/server'
import type { FastifyRequest } from 'fastify'

import { ScopeMissingError } from '../../../shared/errors.ts'

export interface Origins {
  /** Host names without ports. */
  hosts: string[]
  origins: string[]
}

/**
 * A web page must not reach a server on the machine of whoever reads it: neither under a name that
 * was pointed here (Host), nor from a place that was not let in (Origin).
 * @throws ScopeMissingError
 */
export function checkOrigin({ headers }: FastifyRequest, { hosts, origins }: Origins): void {
  const refused = [
    validateHostHeader(headers.host, hosts),
    validateOriginHeader(headers.origin, origins),
  ].find(({ ok }) => !ok)
  if (refused) throw new ScopeMissingError('This host or origin is not served here.')
}
