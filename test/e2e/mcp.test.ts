import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { getDefaultEnvironment, StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { Client as OlderClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as OlderTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport as OlderTransportType } from '@modelcontextprotocol/sdk/shared/transport.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startCluster, type Cluster } from '../helpers/cluster.ts'
import { ask } from '../helpers/mcp.ts'
import { until } from '../helpers/mesh.ts'

const INFO = { name: 'tour', version: '1' }
const TOOLSETS = 'default,jobs,admin'
const ROOT = join(import.meta.dirname, '..', '..')
const CLI = join(ROOT, 'cli', 'main.ts')

/** What the tour needs of a client, whichever it is. */
interface Tourist {
  tools(): Promise<string[]>
  call(name: string, args: object, onProgress?: () => void): Promise<Record<string, unknown>>
  read(uri: string): Promise<string>
  prompt(name: string, args: Record<string, string>): Promise<string>
  close(): Promise<void>
}

let cluster: Cluster
let url: URL
let headers: Record<string, string>

beforeAll(async () => {
  cluster = await startCluster({ nodes: 1 })
  url = new URL(`${cluster.state.endpoints.functions['mcp']}/mcp?toolsets=${TOOLSETS}`)
  headers = { authorization: `Bearer ${cluster.token}` }
})

afterAll(async () => {
  await cluster.stop()
  await cluster.dispose()
})

interface Called {
  isError?: boolean | undefined
  structuredContent?: unknown
  content?: unknown
}

function answerOf(name: string, called: Called): Record<string, unknown> {
  if (called.isError) throw new Error(`${name}: ${JSON.stringify(called.content)}`)
  return called.structuredContent as Record<string, unknown>
}

/** Of the present line, in the newer era, over HTTP or over the streams of `bzzz mcp`. */
async function present(
  transport: StreamableHTTPClientTransport | StdioClientTransport,
): Promise<Tourist> {
  const client = new Client(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
  await client.connect(transport)
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, onprogress) => {
      const options = onprogress && { onprogress }
      return answerOf(name, await client.callTool({ name, arguments: { ...args } }, options))
    },
    read: async (uri) => JSON.stringify(await client.readResource({ uri })),
    prompt: async (name, args) => JSON.stringify(await client.getPrompt({ name, arguments: args })),
    close: () => client.close(),
  }
}

/** The older SDK, which speaks the revision before. */
async function older(): Promise<Tourist> {
  const client = new OlderClient(INFO)
  const transport = new OlderTransport(url, { requestInit: { headers } })
  await client.connect(transport as OlderTransportType)
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, onprogress) => {
      const params = { name, arguments: { ...args } }
      const called = await client.callTool(params, undefined, onprogress && { onprogress })
      return answerOf(name, called as Called)
    },
    read: async (uri) => JSON.stringify(await client.readResource({ uri })),
    prompt: async (name, args) => JSON.stringify(await client.getPrompt({ name, arguments: args })),
    close: () => client.close(),
  }
}

const CLIENTS: Readonly<Record<string, () => Promise<Tourist>>> = {
  'the 2.x client': () =>
    present(new StreamableHTTPClientTransport(url, { requestInit: { headers } })),
  'the 1.x client': older,
  'bzzz mcp': () =>
    present(
      new StdioClientTransport({
        command: process.execPath,
        args: [CLI, 'mcp', '--data', cluster.dataDir, '--toolsets', TOOLSETS],
      }),
    ),
}

describe.each(Object.keys(CLIENTS))('mcp: the tour of %s', (name) => {
  const project = name.replaceAll(/\W/g, '-')

  it('puts, resolves, reads, appends, starts a job and watches it', async () => {
    const tourist = await CLIENTS[name]!()
    try {
      const tools = await tourist.tools()
      expect(tools).toEqual(expect.arrayContaining(['blob_put', 'thread_append', 'job_get']))

      const content = `the plan of ${name}`
      const stored = await tourist.call('blob_put', { content })
      const plan = `bzzz://ada@${project}/plan.md`
      await tourist.call('name_set', { name: plan, content: stored['address'] })
      expect(await tourist.call('mesh_resolve', { address: plan })).toMatchObject({
        content: stored['address'],
        version: 1,
      })
      expect(await tourist.call('blob_get', { address: plan })).toMatchObject({ text: content })
      expect(await tourist.read(plan)).toContain(content)

      const thread = `bzzz://ada@${project}/threads/plan`
      const message = { thread, role: 'user', content: 'hello', idempotency_key: 'k1' }
      const first = await tourist.call('thread_append', { ...message, create: true })
      expect(first).toMatchObject({ seq: 1, existed: false })
      expect(await tourist.call('thread_append', message)).toMatchObject({ seq: 1, existed: true })
      const read = await tourist.call('thread_read', { thread })
      expect(read['items']).toMatchObject([{ content: 'hello', author: 'admin', role: 'user' }])
      expect(await tourist.prompt('thread_summary', { thread })).toContain('hello')

      const call = { function: 'maintenance', path: '/tokens', args: {} }
      // Waited for at the first look: a report in one piece with the answer is dropped by clients.
      const later = { delay_ms: 1_000, idempotency_key: project }
      const started = await tourist.call('job_start', { ...call, ...later })
      let reports = 0
      let job: Record<string, unknown> = {}
      for (let looks = 0; looks < 20 && job['state'] !== 'completed'; looks += 1) {
        const wait = { job: started['job'], wait_seconds: 10 }
        job = await tourist.call('job_get', wait, () => (reports += 1))
      }
      expect(job).toMatchObject({ state: 'completed', answers: [{ status: 200 }] })
      expect(reports).toBeGreaterThan(0)
      expect(await tourist.read(`bzzz://jobs/${String(started['job'])}`)).toContain('completed')

      // Rows are written behind the answers.
      const action = { action: 'thread_append', outcome: 'allow', limit: 1 }
      await until(async () => {
        const { items } = (await tourist.call('audit_search', action)) as { items: object[] }
        return items.length === 1
      }, 'the audit row')
    } finally {
      await tourist.close()
    }
  })
})

/** The servers of the configuration files that the documentation shows, for this cluster. */
async function documentedServers(): Promise<Documented[]> {
  const text = await readFile(join(ROOT, 'docs', 'MCP.md'), 'utf8')
  const blocks = [...text.matchAll(/```json\n(\{[^`]*?"bzzz": \{[^`]*?)```/g)].map(([, json]) =>
    json!
      .replaceAll('http://127.0.0.1:3001', cluster.state.endpoints.functions['mcp']!)
      .replaceAll(/\$\{(BZZZ_TOKEN|input:bzzz)\}/g, cluster.token)
      .replaceAll('/srv/bzzz/.bzzz/ada.token', join(cluster.dataDir, 'config', 'admin.token'))
      .replaceAll('/srv/bzzz', ROOT),
  )
  return blocks.map((block) => {
    const { mcpServers, servers } = JSON.parse(block) as Record<string, { bzzz: Documented }>
    return (mcpServers ?? servers)!.bzzz
  })
}

interface Documented {
  url?: string
  headers?: Record<string, string>
  command?: string
  args?: string[]
  env?: Record<string, string>
}

describe('mcp: the configuration files of the documentation', () => {
  it('connect a client as they stand, wherever it starts a command', async () => {
    const documented = await documentedServers()
    expect(documented.map(({ command }) => command)).toEqual([undefined, undefined, 'npx'])
    for (const server of documented) {
      const transport = server.command
        ? new StdioClientTransport({
            ...{ command: server.command, args: server.args!, cwd: tmpdir() },
            env: { ...getDefaultEnvironment(), ...server.env },
          })
        : new StreamableHTTPClientTransport(new URL(server.url!), {
            requestInit: { headers: server.headers! },
          })
      const tourist = await present(transport)
      expect(await tourist.call('mesh_whoami', {})).toMatchObject({ subject: 'admin' })
      await tourist.close()
    }
  })
})

describe('mcp: behind the gateway', () => {
  it('serves the same below its path', async () => {
    const behind = `${cluster.state.endpoints.gateway}/function/mcp/mcp`
    const { body } = await ask(behind, cluster.token, { method: 'tools/list' })
    expect(JSON.stringify(body)).toContain('mesh_resolve')
  })
})
