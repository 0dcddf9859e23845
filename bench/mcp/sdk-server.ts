import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { toNodeHandler } from '@modelcontextprotocol/node'
import {
  createMcpHandler,
  McpServer,
  requireBearerAuth,
  type AuthInfo,
  type McpRequestContext,
} from '@modelcontextprotocol/server'

import { TABLE } from '../../functions/mcp/table.ts'
import { hashArguments } from '../../shared/audit/audit-entry.ts'
import { AuditLog } from '../../shared/audit/audit-log.ts'
import { createKeyFileVerifier } from '../../shared/auth/key-file.ts'
import { openDatabase } from '../../shared/db/database.ts'
import { createLogger } from '../../shared/log/log.ts'

/**
 * The peer: the SDK as its guide has it, a McpServer for each request with the same tools, the same
 * check of the token, and the same audit row for each call.
 */
const { DATABASE_URL = '', BZZZ_TOKEN_KEYS_FILE = '' } = process.env
const log = createLogger({ name: 'sdk', level: 'error' })
const database = openDatabase(DATABASE_URL, { log }, { connectionsMax: 2 })
const audit = new AuditLog({ db: database.db, log }, { component: 'sdk' })
await audit.start()
const verify = await createKeyFileVerifier(BZZZ_TOKEN_KEYS_FILE)

const authenticate = requireBearerAuth({
  verifier: {
    verifyAccessToken: async (token): Promise<AuthInfo> => {
      const { id, subject, scopes, expiresAt, role } = await verify(token)
      return { token, clientId: subject, scopes: [...scopes], expiresAt, extra: { id, role } }
    },
  },
})

function build({ authInfo }: McpRequestContext): McpServer {
  const server = new McpServer({ name: 'sdk', version: '1' }, { maxToolInputElements: 2000 })
  for (const { name, listed, schemas } of TABLE.tools) {
    const { title = name, description = '', annotations = {} } = listed
    const about = { title, description, annotations }
    const { input: inputSchema, output: outputSchema } = schemas
    server.registerTool(name, { ...about, inputSchema, outputSchema }, async (args) => {
      const subject = authInfo?.clientId ?? ''
      const result = {
        ...{ subject, role: String(authInfo?.extra?.['role']), scopes: authInfo?.scopes ?? [] },
        ...{ projects: ['*'], expires_at: '', tools: [], toolsets: [] },
        limits: { calls_per_minute: 600, inline_bytes: 0, result_chars: 0 },
      }
      audit.record({
        ...{ actor: subject, tokenId: String(authInfo?.extra?.['id']), remote: '', resource: name },
        ...{ action: `tools/call ${name}`, outcome: 'allow', status: 200, requestId: '' },
        argumentsHash: hashArguments(name, args),
      })
      return {
        content: [{ type: 'text', text: JSON.stringify(result) }],
        structuredContent: result,
      }
    })
  }
  return server
}

const handler = createMcpHandler(build)
const serve = toNodeHandler({
  fetch: async (request) => {
    const authInfo = await authenticate(request)
    return authInfo instanceof Response ? authInfo : handler.fetch(request, { authInfo })
  },
})
const server = createServer((request, response) => void serve(request as never, response))
server.listen({ host: '127.0.0.1', port: 0 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port })
})
process.once('SIGTERM', () => {
  server.closeAllConnections()
  void audit
    .stop()
    .then(() => database.close())
    .then(() => process.exit(0))
})
