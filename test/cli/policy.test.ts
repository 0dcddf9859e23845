import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../cli/cli.ts'
import { createNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { createCommandHost } from '../helpers/command-host.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../helpers/memory-daemon.ts'

const STRANGER = createNodeKey().peerId

let daemon: MemoryDaemon
let folder: string
let name: string
let token: string

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  token = await daemon.tokens.create({ role: 'operator' })
  folder = await mkdtemp(join(tmpdir(), 'bzzz-policy-'))
  const answer = await fetch(`${daemon.url}/v1/nodes`, { headers: authorization() })
  name = ((await answer.json()) as { nodes: { name: string }[] }).nodes[0]!.name
})

afterAll(async () => {
  await daemon.close()
  await rm(folder, { recursive: true })
})

const authorization = (): Record<string, string> => ({ authorization: `Bearer ${token}` })

async function run(args: string[], by = token) {
  const env = { BZZZ_ENDPOINT: daemon.url, BZZZ_TOKEN: by, BZZZ_DATA: folder }
  const { host, stdout, stderr } = createCommandHost(env)
  const exitCode = await runCli(['policy', ...args], host)
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() }
}

async function set(policy: object | string, ...args: string[]) {
  const file = join(folder, 'policy.json')
  await writeFile(file, typeof policy === 'string' ? policy : JSON.stringify(policy))
  return run(['set', file, ...args])
}

async function write(address: string): Promise<number> {
  const headers = authorization()
  await fetch(`${daemon.url}/v1/blobs`, { method: 'PUT', body: address, headers })
  const answer = await fetch(`${daemon.url}/v1/addresses?address=${address}`, {
    method: 'PUT',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ hash: hashBytes(Buffer.from(address)), mediaType: 'text/plain' }),
  })
  return answer.status
}

describe('bzzz policy', () => {
  it('is not there at first', async () => {
    expect((await run(['show'])).stdout).toBe(
      'There is no policy: every node may write every address.\n',
    )
    expect(await write('a@apollo/free')).toBe(201)
  })

  it('says who may write what, by names of nodes, and is kept to at once', async () => {
    const done = await set({
      rules: [
        { project: 'apollo', authors: [STRANGER] },
        { project: 'gem*', agent: 'bot', authors: [name, STRANGER] },
      ],
      editors: [name],
    })
    expect(done.stderr).toBe('')
    const { stdout } = await run(['show'])
    expect(stdout).toMatch(/^apollo +\* +…\w{8}$/m)
    expect(stdout).toContain(`${name}, …`)
    expect(stdout).toMatch(new RegExp(`version 1, .*; next one by: ${name}\\n$`))
    expect(await write('a@apollo/mine')).toBe(403)
    expect(await write('a@gemini/x')).toBe(201)
    expect(await write('bot@gemini/x')).toBe(201)
    // What was there before goes on being read.
    const read = await fetch(`${daemon.url}/v1/resolve?address=a@apollo/free`, {
      headers: authorization(),
    })
    expect(read.status).toBe(200)
  })

  it('refuses what would lock everybody out, is stale or is no policy', async () => {
    const locked = await set({ rules: [], editors: [STRANGER] })
    expect(locked.stderr).toContain('could not take this back')
    const stale = await set({ rules: [] }, '--if-version', '0')
    expect(stale.stderr).toContain('BZZZ_VERSION_CONFLICT')
    expect((await set('{}')).stderr).toContain('BZZZ_REQUEST_INVALID')
    expect((await set({ rules: [{ project: 'x', authors: ['nobody'] }] })).stderr).toContain(
      'not an Ed25519 peer id',
    )
    expect(await write('policy@cluster/ownership')).toBe(400)
  })

  it('is for operators, and everybody may see it', async () => {
    const agent = await daemon.tokens.create({ role: 'agent' })
    expect((await run(['show'], agent)).exitCode).toBe(0)
    const file = join(folder, 'policy.json')
    await writeFile(file, '{"rules":[]}')
    expect((await run(['set', file], agent)).stderr).toContain('BZZZ_SCOPE_MISSING')
    expect((await run(['set', file])).exitCode).toBe(0)
    expect(await write('a@apollo/mine')).toBe(201)
  })
})
