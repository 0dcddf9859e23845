import { readFile } from 'node:fs/promises'

import { TokenMissingError } from '../../shared/errors.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { layoutOf } from '../up/data-layout.ts'
import { readRunningState } from '../up/running-file.ts'

/** Where a cluster is and the key to it. */
export interface Connection {
  resolveURL: string
  gatewayURL: string
  mcpURL: string
  /** Names are known of a cluster that `bzzz up` runs here; others tell theirs when asked. */
  nodes: readonly { name: string | null; http: string }[]
  token: string
}

const RESOLVE_URL = 'http://127.0.0.1:3003'
const MCP_URL = 'http://127.0.0.1:3001/mcp'
const GATEWAY_URL = 'http://127.0.0.1:8080'
const NODE_URL = 'http://127.0.0.1:9000'

/**
 * What the environment names comes first, then what the `bzzz up` of the data folder wrote down,
 * then the usual ports of this machine.
 * @throws InvalidConfigError, TokenMissingError
 */
export async function findConnection(host: CommandHost, dataDir?: string): Promise<Connection> {
  const config = readCliConfig(host.env)
  const layout = layoutOf(dataDir ?? config.BZZZ_DATA)
  const running = (await readRunningState(layout))?.endpoints
  const token = config.BZZZ_TOKEN ?? (await readToken(layout.adminToken))
  const nodes = config.BZZZ_ENDPOINT?.map((http) => ({ name: null, http: trimSlash(http) }))
  return {
    resolveURL: trimSlash(
      config.BZZZ_URL ??
        config.BZZZ_RESOLVE_URL ??
        running?.functions['resolve'] ??
        (config.BZZZ_GATEWAY_URL && `${trimSlash(config.BZZZ_GATEWAY_URL)}/function/resolve`) ??
        RESOLVE_URL,
    ),
    gatewayURL: trimSlash(config.BZZZ_GATEWAY_URL ?? running?.gateway ?? GATEWAY_URL),
    mcpURL:
      config.BZZZ_MCP_URL ??
      (running?.functions['mcp'] && `${running.functions['mcp']}/mcp`) ??
      (config.BZZZ_GATEWAY_URL && `${trimSlash(config.BZZZ_GATEWAY_URL)}/function/mcp/mcp`) ??
      MCP_URL,
    nodes: nodes ?? running?.nodes ?? [{ name: null, http: NODE_URL }],
    token: token.trim(),
  }
}

async function readToken(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new TokenMissingError(
      `There is no token: set BZZZ_TOKEN or BZZZ_TOKEN_FILE, or name the data folder of a local cluster with --data (no ${file}).`,
      { cause: error },
    )
  }
}

function trimSlash(url: string): string {
  return url.replace(/\/+$/, '')
}
