import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { TABLE } from '../../../functions/mcp/table.ts'
import { TOOLSETS } from '../../../functions/mcp/tools/tool.ts'
import { ROLE_NAMES, ROLES, SCOPES, type Role, type Scope } from '../../../shared/auth/scopes.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { ask, startMcp, type RPCAnswer, type TestMcp } from '../../helpers/mcp.ts'

/** Something to ask for each row of the table, and how it is listed. */
interface Row {
  kind: 'tool' | 'resource' | 'prompt'
  name: string
  scope: Scope | null
  method: string
  params: Record<string, unknown>
}

/** Values that fit the variables of templates; what they name need not be there. */
const VARIABLES: Readonly<Record<string, string>> = {
  hash: '0'.repeat(64),
  agent: 'nobody@apollo',
  job: '00000000-0000-4000-8000-000000000000',
  thread: 'nobody@apollo/none',
  authority: 'nobody@apollo',
  path: 'none',
}

const ROWS: readonly Row[] = [
  ...TABLE.tools.map(({ name, scope, example }): Row => ({
    ...{ kind: 'tool', name, scope, method: 'tools/call' },
    params: { name, arguments: example.arguments },
  })),
  ...TABLE.resources.map(({ uri, scope }): Row => ({
    ...{ kind: 'resource', name: uri, scope, method: 'resources/read' },
    params: { uri: uri.replaceAll(/\{\+?(\w+)\}/g, (_, name: string) => VARIABLES[name]!) },
  })),
  ...TABLE.prompts.map(({ name, scope, example }): Row => ({
    ...{ kind: 'prompt', name, scope, method: 'prompts/get' },
    params: { name, arguments: example },
  })),
]

const roleHas = (role: Role, scope: Scope | null) => scope === null || ROLES[role].includes(scope)

let daemon: MemoryDaemon
let mcp: TestMcp
let url: string

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  mcp = await startMcp(daemon)
  url = `${mcp.url}?toolsets=all`
})

afterAll(async () => {
  await mcp.close()
  await daemon.close()
})

async function listed(token: string): Promise<Record<Row['kind'], string[]>> {
  const list = async (method: string, field: string, key: string) => {
    const { body } = await ask(url, token, { method })
    return (body.result![field] as Record<string, string>[]).map((row) => row[key]!)
  }
  return {
    tool: await list('tools/list', 'tools', 'name'),
    resource: [
      ...(await list('resources/list', 'resources', 'uri')),
      ...(await list('resources/templates/list', 'resourceTemplates', 'uriTemplate')),
    ],
    prompt: await list('prompts/list', 'prompts', 'name'),
  }
}

function isChallenge({ status, headers }: RPCAnswer, scope: Scope): boolean {
  const challenge = headers.get('www-authenticate') ?? ''
  return (
    status === 403 &&
    challenge.includes('error="insufficient_scope"') &&
    challenge.includes(`scope="${scope}"`) &&
    challenge.includes('resource_metadata="')
  )
}

async function expectAnswer(row: Row, token: string, allowed: boolean, who: string) {
  const answer = await ask(url, token, row)
  const where = `${who}: ${row.kind} ${row.name}`
  if (allowed) {
    expect(answer.status, where).toBe(200)
    // It may fail for want of what it asks about, never for want of a right.
    expect(JSON.stringify(answer.body), where).not.toContain('BZZZ_SCOPE_MISSING')
  } else {
    expect(isChallenge(answer, row.scope!), where).toBe(true)
    expect(answer.body, where).not.toHaveProperty('result')
  }
}

describe('mcp: every tool, resource and prompt, for every role', () => {
  it('has each name once, and a toolset for each tool', () => {
    const names = ROWS.map(({ kind, name }) => `${kind} ${name}`)
    expect(new Set(names).size).toBe(names.length)
    const sets = new Set(TABLE.tools.flatMap(({ toolsets }) => toolsets))
    expect([...sets].toSorted()).toEqual([...TOOLSETS].toSorted())
    const inDefault = TABLE.tools.filter(({ toolsets }) => toolsets.includes('default'))
    expect(inDefault.length).toBeLessThanOrEqual(12)
  })

  it.each(ROLE_NAMES)('lists, allows and refuses what the table says for %s', async (role) => {
    const token = await daemon.tokens.create({ role, subject: `matrix-${role}` })
    const seen = await listed(token)
    for (const row of ROWS) {
      const allowed = roleHas(role, row.scope)
      expect(seen[row.kind].includes(row.name), `${role} sees ${row.name}`).toBe(allowed)
      await expectAnswer(row, token, allowed, role)
    }
    const names = ROWS.filter(({ scope }) => roleHas(role, scope)).length
    expect(Object.values(seen).flat()).toHaveLength(names)
  })

  it('refuses a token that has every scope but the one of the row', async () => {
    for (const scope of new Set(ROWS.flatMap((row) => row.scope ?? []))) {
      const scopes = SCOPES.filter((one) => one !== scope && one !== 'admin:*')
      const token = await daemon.tokens.create({ scopes, subject: `without-${scope}` })
      const seen = await listed(token)
      for (const row of ROWS.filter((one) => one.scope === scope)) {
        expect(seen[row.kind], row.name).not.toContain(row.name)
        await expectAnswer(row, token, false, `without ${scope}`)
      }
    }
  })

  it('lets a token with one scope do what that covers and no more', async () => {
    for (const scope of new Set(ROWS.flatMap((row) => row.scope ?? []))) {
      if (scope === 'admin:*') continue
      const token = await daemon.tokens.create({ scopes: [scope], subject: `only-${scope}` })
      const seen = await listed(token)
      for (const row of ROWS) {
        const covers = row.scope === null || row.scope === scope
        expect(seen[row.kind].includes(row.name), `${scope}: ${row.name}`).toBe(covers)
        if (!covers) await expectAnswer(row, token, false, `only ${scope}`)
      }
    }
  })

  it('completes for a prompt only who may use it', async () => {
    const token = await daemon.tokens.create({ scopes: ['mesh:read'], subject: 'completer' })
    for (const { name, scope, arguments: args } of TABLE.prompts) {
      const params = {
        ref: { type: 'ref/prompt', name },
        argument: { name: args[0]!.name, value: '' },
      }
      const { status } = await ask(url, token, { method: 'completion/complete', params })
      expect(status, name).toBe(scope === 'mesh:read' ? 200 : 403)
    }
  })
})

describe('mcp: completions of templates', () => {
  it('are for who may read the resource, for every role and without its scope', async () => {
    const tokens = new Map<string, { token: string; scopes: readonly Scope[] }>()
    for (const role of ROLE_NAMES) {
      const token = await daemon.tokens.create({ role, subject: `completes-${role}` })
      tokens.set(role, { token, scopes: ROLES[role] })
    }
    const none = await daemon.tokens.create({ scopes: ['usage:read'], subject: 'completes-not' })
    tokens.set('none', { token: none, scopes: ['usage:read'] })
    for (const { uri, scope, complete } of TABLE.resources) {
      const params = {
        ref: { type: 'ref/resource', uri },
        argument: { name: Object.keys(complete)[0] ?? 'none', value: '' },
      }
      for (const [who, { token, scopes }] of tokens) {
        const answer = await ask(url, token, { method: 'completion/complete', params })
        const where = `${who}: ${uri}`
        if (scopes.includes(scope)) expect(answer.body, where).toHaveProperty('result.completion')
        else expect(isChallenge(answer, scope), where).toBe(true)
      }
    }
  })
})

describe('mcp: other projects', () => {
  it('shows and changes nothing of what the token does not cover', async () => {
    const own = await daemon.tokens.create({ subject: 'own' })
    const other = await daemon.tokens.create({ subject: 'other', projects: ['gemini'] })
    const call = async (token: string, name: string, args: object) =>
      ask(url, token, { method: 'tools/call', params: { name, arguments: args } })
    const put = await call(own, 'blob_put', { content: 'of apollo' })
    const content = put.body.result!.structuredContent!['address']
    const name = 'bzzz://ada@apollo/secret'
    await call(own, 'name_set', { name, content })
    const tries: [string, object][] = [
      ['mesh_resolve', { address: name }],
      ['blob_get', { address: name }],
      ['name_get', { name }],
      ['name_set', { name, content }],
      ['thread_read', { thread: name }],
      ['thread_append', { thread: name, role: 'user', content: 'x', create: true }],
      ['agent_send', { agent: 'ada@apollo', message: 'x' }],
      ['blob_put', { content: 'x', project: 'apollo' }],
      ['agent_list', { project: 'apollo' }],
    ]
    for (const [tool, args] of tries) {
      const { body } = await call(other, tool, args)
      expect(body.result, tool).toMatchObject({ isError: true })
      expect(JSON.stringify(body.result), tool).toContain('BZZZ_SCOPE_MISSING')
    }
    const found = await call(other, 'blob_find', { pattern: 'bzzz://*:*@*:*/' })
    expect(found.body.result!.structuredContent).toMatchObject({ items: [] })
    const read = await ask(url, other, { method: 'resources/read', params: { uri: name } })
    expect(JSON.stringify(read.body.error)).toContain('BZZZ_SCOPE_MISSING')
  })
})
