import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../cli/cli.ts'
import { createCommandHost, createOutput } from '../helpers/command-host.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../helpers/memory-daemon.ts'
import { until } from '../helpers/mesh.ts'

/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:1'

let daemon: MemoryDaemon
let env: Record<string, string>

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  const BZZZ_TOKEN = await daemon.tokens.create()
  env = { BZZZ_TOKEN, BZZZ_ENDPOINT: daemon.url, BZZZ_GATEWAY_URL: NOWHERE }
  const capabilities = { skills: ['review', 'x'.repeat(60)], models: ['llama-3'], tools: [] }
  await register('reviewer@apollo', { role: 'lead', capabilities, load: 0.25, lease: '1h' })
  await register('tester@zeus', { endpoint: 'http://10.0.0.7:8100', lease: '1h' })
})

afterAll(() => daemon.close())

async function register(agent: string, body: object): Promise<void> {
  const headers = {
    authorization: `Bearer ${env['BZZZ_TOKEN']}`,
    'content-type': 'application/json',
  }
  const init = { method: 'PUT', headers, body: JSON.stringify(body) }
  expect((await fetch(`${daemon.url}/v1/agents/${agent}`, init)).status).toBe(201)
}

async function run(...args: string[]) {
  const { host, stdout, stderr } = createCommandHost(env)
  const exitCode = await runCli(args, host)
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() }
}

describe('bzzz agents', () => {
  it('shows a table for people', async () => {
    const { exitCode, stdout } = await run('agents')
    expect(exitCode).toBe(0)
    const [head, reviewer, tester, ...rest] = stdout.split('\n')
    expect(head).toMatch(/^AGENT +ROLE +NODE +LOAD +MODELS +SKILLS +TOOLS +ENDPOINT +ENDS IN$/)
    expect(reviewer).toMatch(
      /^reviewer@apollo +lead +walnut +25 % +llama-3 +review, x{39}… +- +- +(1 h|59 min)$/,
    )
    expect(tester).toMatch(
      /^tester@zeus +- +walnut +0 % +- +- +- +http:\/\/10.0.0.7:8100 +(1 h|59 min)$/,
    )
    expect(rest).toEqual([''])
  })

  it('filters, asks anew, and gives everything as JSON', async () => {
    const listed = async (...args: string[]): Promise<string[]> => {
      const { stdout } = await run('agents', 'ls', '--json', ...args)
      const { agents } = JSON.parse(stdout) as { agents: { agent: string }[] }
      return agents.map(({ agent }) => agent)
    }
    expect(await listed()).toEqual(['reviewer@apollo', 'tester@zeus'])
    expect(await listed('--fresh')).toEqual(['reviewer@apollo', 'tester@zeus'])
    expect(await listed('--capability', 'review')).toEqual(['reviewer@apollo'])
    expect(await listed('--model', 'llama-3', '--role', 'lead')).toEqual(['reviewer@apollo'])
    expect(await listed('--project', 'zeus')).toEqual(['tester@zeus'])
    expect((await run('agents', '--role', 'none')).stdout).toBe(
      'No agent is registered that fits.\n',
    )
  })

  it('says what is wrong with a filter', async () => {
    const { exitCode, stderr } = await run('agents', '--project', '../x')
    expect(exitCode).toBe(1)
    expect(stderr).toContain('BZZZ_ADDRESS_INVALID')
  })
})

describe('bzzz status', () => {
  it('asks the daemon and shows what it says', async () => {
    const { exitCode, stdout } = await run('status')
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^\w+ +…\w{8} +live +- +0 of 0 +- +0 +0 B +0 +0 +2 +\d+ s$/m)
    expect(stdout).toMatch(/^agents +2$/m)
    expect(stdout).toContain('problems\n  gateway: http://127.0.0.1:1 does not answer')
    const json = JSON.parse((await run('status', '--json')).stdout)
    expect(json.nodes[0].status).toMatchObject({ agents: { own: 2, known: 2 }, lastError: null })
    expect(json.members).toMatchObject([{ peerId: daemon.peerId, state: 'live' }])
  })

  const frames = (text: string): number => text.match(/^gateway +down/gm)?.length ?? 0

  it('watches until Ctrl-C, line after line where no terminal is', async () => {
    const { host, stdout, stop } = createCommandHost(env)
    const running = runCli(['status', '--watch'], host)
    await until(() => frames(stdout.text()) >= 2, 'two frames')
    stop()
    expect(await running).toBe(0)
    expect(stdout.text()).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z\nNODE /)
    expect(stdout.text()).not.toContain('\u001b')
  })

  it('draws over what it drew on a terminal, and never more than fits', async () => {
    const { host, stop } = createCommandHost(env)
    const stdout = Object.assign(createOutput({ isTTY: true }), { rows: 5 })
    const running = runCli(['status', '--watch'], { ...host, stdout })
    await until(() => stdout.text().split('\u001b[H').length > 2, 'two frames')
    stop()
    expect(await running).toBe(0)
    const [cleared, first = ''] = stdout.text().split('\u001b[H')
    expect(cleared).toBe('\u001b[2J')
    expect(first).toMatch(/^bzzz status, [\d:]{8}, Ctrl-C to end/)
    expect(first.split('\n')[0]!.endsWith('\u001b[K')).toBe(true)
    expect(first.split('\n')).toHaveLength(5)
    expect(first.endsWith('\u001b[J')).toBe(true)
  })

  it('watches a cluster that is down, as JSON, until it is back', async () => {
    const { host, stdout, stop } = createCommandHost({ ...env, BZZZ_ENDPOINT: NOWHERE })
    const running = runCli(['status', '--watch', '--json'], host)
    await until(() => stdout.text().split('\n').length > 2, 'two lines')
    stop()
    expect(await running).toBe(0)
    for (const line of stdout.text().trimEnd().split('\n')) {
      expect(JSON.parse(line).nodes[0].up).toBe(false)
    }
  })
})
