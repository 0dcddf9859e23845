import type { Readable } from 'node:stream'

import { DaemonUnavailableError } from '../../shared/errors.ts'
import type { CommandHost } from '../host.ts'
import { findConnection } from './connection.ts'
import { call, callJSON, type Answer, type Call } from './http.ts'

/** What a command may say of its request; token, signal and address are filled in. */
export interface NodeCall {
  method?: NonNullable<Call['method']>
  headers?: Record<string, string>
  body?: Buffer | Readable
  json?: object
}

/** The HTTP API of one daemon. */
export interface NodeClient {
  url: string
  json<T>(path: string, init?: NodeCall): Promise<T>
  request(path: string, init?: NodeCall): Promise<Answer>
}

/**
 * The first daemon that is alive, or, with `name`, the one of that name.
 * @throws DaemonUnavailableError
 */
export async function findNode(
  host: CommandHost,
  options: { data?: string; node?: string },
): Promise<NodeClient> {
  const { nodes, token } = await findConnection(host, options.data)
  const wanted = nodes.filter(({ name }) => options.node === undefined || name === options.node)
  let last: unknown
  for (const { http: url } of wanted) {
    try {
      await call(`${url}/healthz`, { token, signal: host.signal }).then(({ body }) => body.dump())
      return createNodeClient(url, token, host.signal)
    } catch (error) {
      if (!(error instanceof DaemonUnavailableError)) throw error
      last = error
    }
  }
  if (last !== undefined) throw last
  throw new DaemonUnavailableError(`There is no node ${options.node ?? ''} in this cluster.`)
}

function createNodeClient(url: string, token: string, signal: AbortSignal): NodeClient {
  const withBody = ({ json, headers, ...rest }: NodeCall): Omit<Call, 'token' | 'signal'> => ({
    ...rest,
    headers: { ...headers, ...(json && { 'content-type': 'application/json' }) },
    ...(json && { body: Buffer.from(JSON.stringify(json)) }),
  })
  return {
    url,
    json: (path, init = {}) => callJSON(url + path, { ...withBody(init), token, signal }),
    request: (path, init = {}) => call(url + path, { ...withBody(init), token, signal }),
  }
}
