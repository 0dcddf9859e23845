import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'

import type { Role } from '../../../shared/auth/scopes.ts'
import { startBearerProxy } from '../../helpers/bearer-proxy.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { startMcp } from '../../helpers/mcp.ts'

const SUITE = dirname(
  createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/package.json'),
)

const MODERN = '2026-07-28'
const LEGACY = '2025-11-25'

/**
 * Scenarios of the older revision in which the server asks the client back or keeps a stream open
 * for it. Both need a session, which a function without state cannot have.
 */
const NEED_A_SESSION = [
  'tools-call-sampling',
  'tools-call-elicitation',
  'elicitation-sep1034-defaults',
  'elicitation-sep1330-enums',
  'server-sse-multiple-streams',
]

/** What asks for no fixture: any server can pass it with tools of its own. */
const GENERIC: Readonly<Record<string, readonly string[]>> = {
  [MODERN]: [
    'tools-list',
    'resources-list',
    'prompts-list',
    'sep-2164-resource-not-found',
    'caching',
    'dns-rebinding-protection',
    'server-sse-multiple-streams',
    'input-required-result-missing-input-response',
    'input-required-result-unsupported-methods',
    'input-required-result-ignore-extra-params',
    'input-required-result-validate-input',
    'http-header-validation',
  ],
  [LEGACY]: [
    'server-initialize',
    'ping',
    'tools-list',
    'resources-list',
    'prompts-list',
    'dns-rebinding-protection',
  ],
}

interface Outcome {
  passed: number
  failed: number
}

let folder: string
let daemon: MemoryDaemon

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-conformance-'))
  daemon = await startMemoryDaemon()
})

afterAll(async () => {
  await daemon.close()
  await rm(folder, { recursive: true })
})

/** Scenarios that count for a revision, as the suite itself lists them. */
async function scoredOf(revision: string): Promise<string[]> {
  const file = await readFile(join(SUITE, 'requirements', `${revision}.yaml`), 'utf8')
  return (parse(file) as { server: string[] }).server
}

/** Runs the suite of one revision against a server with tokens on; every request carries one. */
async function run(
  revision: string,
  { role, env }: { role: Role; env: Record<string, string> },
): Promise<ReadonlyMap<string, Outcome>> {
  const mcp = await startMcp(daemon, { BZZZ_MCP_TOOL_RPM: '100000', ...env })
  const token = await daemon.tokens.create({ subject: `suite-${revision}`, role })
  const proxy = await startBearerProxy(mcp.url, token)
  const out = join(folder, `${revision}-${role}`)
  const args = ['--url', proxy.url, '--requirements', revision, '-o', out]
  try {
    const said = await new Promise<string>((resolve) => {
      const command = [join(SUITE, 'dist', 'index.js'), 'server', ...args]
      const options = { cwd: folder, maxBuffer: 64 * 1024 * 1024 }
      // It exits with 1 when anything failed, also what is not scored.
      execFile(process.execPath, command, options, (_error, stdout, stderr) =>
        resolve(stdout + stderr),
      )
    })
    const lines = [...said.matchAll(/^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed/gm)]
    if (lines.length === 0) throw new Error(`The suite said nothing:\n${said.slice(-2000)}`)
    return new Map(
      lines.map(([, name, passed, failed]) => [
        name!,
        { passed: Number(passed), failed: Number(failed) },
      ]),
    )
  } finally {
    await proxy.close()
    await mcp.close()
  }
}

/** A scenario that checked nothing is not one that holds. */
function holding(outcomes: ReadonlyMap<string, Outcome>): string[] {
  return [...outcomes].flatMap(([name, { passed, failed }]) =>
    failed === 0 && passed > 0 ? [name] : [],
  )
}

interface Check {
  id: string
  status: string
  details?: { untestable?: boolean }
}

/** The single checks of a scenario, as the suite wrote them down. */
async function checksOf(out: string, scenario: string): Promise<Check[]> {
  const names = await readdir(join(folder, out))
  const name = names.find((one) => one.startsWith(`server-${scenario}-`))
  return JSON.parse(await readFile(join(folder, out, name!, 'checks.json'), 'utf8')) as Check[]
}

const plain = new Map<string, Promise<ReadonlyMap<string, Outcome>>>()

/** Without the fixtures, once for all tests that look at it. */
function runPlain(revision: string): Promise<ReadonlyMap<string, Outcome>> {
  const running = plain.get(revision) ?? run(revision, { role: 'admin', env: {} })
  plain.set(revision, running)
  return running
}

const FIXTURES = { BZZZ_MCP_CONFORMANCE: '1' }

describe('mcp: the public conformance suite, with tokens on', () => {
  it(`holds every scored scenario of ${MODERN}`, async () => {
    const scored = await scoredOf(MODERN)
    expect(scored).toHaveLength(37)
    const held = holding(await run(MODERN, { role: 'viewer', env: FIXTURES }))
    expect(scored.filter((name) => !held.includes(name))).toEqual([])
  })

  it(`holds every scored scenario of ${LEGACY} but the five that need a session`, async () => {
    const scored = await scoredOf(LEGACY)
    expect(scored).toHaveLength(30)
    const held = holding(await run(LEGACY, { role: 'viewer', env: FIXTURES }))
    const missed = scored.filter((name) => !held.includes(name))
    expect(missed.toSorted()).toEqual(NEED_A_SESSION.toSorted())
  })

  it.each([MODERN, LEGACY])('holds what is generic of %s with its own tools', async (revision) => {
    const held = holding(await runPlain(revision))
    expect(GENERIC[revision]!.filter((name) => !held.includes(name))).toEqual([])
  })
})

describe('mcp: without sessions', () => {
  it('fails no check of the suite but those that only a fixture would make testable', async () => {
    await runPlain(MODERN)
    const checks = await checksOf(`${MODERN}-admin`, 'server-stateless')
    const failed = checks.filter(({ status }) => status === 'FAILURE')
    expect(failed.filter(({ details }) => details?.untestable !== true)).toEqual([])
    expect(checks.filter(({ status }) => status === 'SUCCESS').length).toBeGreaterThanOrEqual(20)
  })
})

describe('mcp: the toolset of the suite', () => {
  it('is refused in production', async () => {
    const starting = startMcp(daemon, { ...FIXTURES, NODE_ENV: 'production' })
    await expect(starting).rejects.toThrow('BZZZ_MCP_CONFORMANCE')
  })
})
