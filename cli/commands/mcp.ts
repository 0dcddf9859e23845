import type { Command } from 'commander'

import { findConnection } from '../client/connection.ts'
import type { CommandHost } from '../host.ts'

interface Options {
  toolsets?: string
  readonly?: boolean
  url?: string
  data?: string
}

/** `bzzz mcp`: the tools of the cluster for a program that speaks over our standard streams. */
export function mcpCommand(program: Command, host: CommandHost): void {
  program
    .command('mcp')
    .description('serve MCP over standard input and output, by the endpoint of the cluster')
    .option('--toolsets <names>', 'such as default,jobs; all is every one')
    .option('--readonly', 'only what changes nothing')
    .option('--url <url>', 'of the endpoint, such as http://127.0.0.1:3001/mcp')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((options: Options) => serve(host, options))
}

async function serve(host: CommandHost, options: Options): Promise<void> {
  const { mcpURL, token } = await findConnection(host, options.data)
  const url = new URL(options.url ?? mcpURL)
  if (options.toolsets !== undefined) url.searchParams.set('toolsets', options.toolsets)
  if (options.readonly) url.searchParams.set('readonly', 'true')
  // Loaded here alone: no other command has a use for it, and each would wait for it.
  const [{ HTTPEndpoint }, { StdioBridge }] = await Promise.all([
    import('../mcp/http-endpoint.ts'),
    import('../mcp/stdio-bridge.ts'),
  ])
  const endpoint = new HTTPEndpoint({ url: url.href, token })
  const { stdin, stdout, signal } = host
  await new StdioBridge({ endpoint, stdin, stdout }).run(signal)
}
