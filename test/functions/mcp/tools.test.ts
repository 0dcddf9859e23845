import { describe, expect, it } from 'vitest'

import { RESULT_CHARS_MAX } from '../../../functions/mcp/constants.ts'
import { completeAgent } from '../../../functions/mcp/resources/completions.ts'
import { toCall, type Exchange } from '../../../functions/mcp/server/exchange.ts'
import type { Call } from '../../../functions/mcp/services.ts'
import { nodeRemove } from '../../../functions/mcp/tools/admin.ts'
import { gcRun } from '../../../functions/mcp/tools/collection.ts'
import { jobGet, jobList } from '../../../functions/mcp/tools/jobs.ts'
import { nodeList, type NodeJSON } from '../../../functions/mcp/tools/ops.ts'
import type { Tool } from '../../../functions/mcp/tools/tool.ts'
import type { FunctionAnswer, Job } from '../../../shared/queue/job.ts'

/** A caller, and of the services what a tool asks. */
function createCall(services: object): Call {
  const caller = { claims: { subject: 'ada', scopes: [], projects: ['*'] }, token: '' }
  const call = { caller, services, signal: new AbortController().signal, progress: () => undefined }
  return call as unknown as Call
}

async function run(tool: Tool, args: object, call: Call) {
  const { content, structuredContent } = (await tool.call(args, call, undefined as never)) as {
    content: { type: string; uri?: string }[]
    structuredContent: Record<string, unknown>
  }
  const links = content.flatMap(({ type, uri }) => (type === 'resource_link' ? [uri] : []))
  return { links, result: structuredContent, size: JSON.stringify(structuredContent).length }
}

function job(id: string, given: Partial<Job>): Job {
  const at = new Date(0)
  return {
    ...{ id, topic: 'builds', state: 'completed', progress: null, attempts: 1, attemptsMax: 8 },
    data: {
      function: null,
      owner: 'ada',
      answered: [],
      cancelled: false,
    } as unknown as Job['data'],
    ...{ priority: 0, createdAt: at, dueAt: null, startedAt: at, finishedAt: at },
    ...{ reason: null, result: null, ...given },
  }
}

function answer(name: string, bytes: Buffer): FunctionAnswer {
  const body = bytes.toString('base64')
  const about = { status: 200, contentType: 'text/plain', sizeBytes: bytes.length, seconds: 1 }
  return { function: name, ...about, body, blob: null }
}

describe('job_get', () => {
  const look = (answers: FunctionAnswer[]) => {
    const queue = { get: async (id: string) => job(id, { result: { answers } }) }
    return run(jobGet, { job: 'j-1' }, createCall({ queue }))
  }

  it('shows what many functions answered as far as it fits, and links to the rest', async () => {
    const text = Buffer.from('"\\\n'.repeat(80_000))
    const { links, result, size } = await look(
      ['a', 'b', 'c', 'd'].map((name) => answer(name, text)),
    )
    expect(size).toBeLessThanOrEqual(RESULT_CHARS_MAX)
    for (const { body, shown } of result['answers'] as { body: string; shown: string }[]) {
      expect(shown).toBe('part')
      expect(body.length).toBeGreaterThan(1_000)
      expect(text.toString().startsWith(body)).toBe(true)
    }
    expect(links).toEqual(['bzzz://jobs/j-1'])
  })

  it('says of bytes that they are not shown, and needs no link where all is', async () => {
    const bytes = await look([answer('a', Buffer.from([0, 255, 128]))])
    expect(bytes.result['answers']).toMatchObject([{ shown: 'none', size: 3 }])
    expect(bytes.links).toEqual(['bzzz://jobs/j-1'])
    const small = await look([answer('a', Buffer.from('hi')), answer('b', Buffer.alloc(0))])
    expect(small.result['answers']).toMatchObject([{ body: 'hi', shown: 'whole' }, { body: '' }])
    expect(small.links).toEqual([])
  })
})

describe('job_list', () => {
  it('leaves no job out of a page, however much they say', async () => {
    const jobs = Array.from({ length: 50 }, (_, index) =>
      job(`${index}`, { state: 'failed', reason: '"x"'.repeat(5_000) }),
    )
    const queue = { list: async () => ({ jobs, next: 'more' }) }
    const { result } = await run(jobList, { limit: 50 }, createCall({ queue }))
    expect(result['items']).toHaveLength(50)
    expect(result['next_cursor']).toBe('more')
  })
})

describe('gc_run', () => {
  it('tells of the phases of a dry run, and answers what it found', async () => {
    const { promise, resolve } = Promise.withResolvers<object>()
    const daemon = {
      call: async ({ method, json }: { method: string; json?: object }) => {
        if (method === 'GET') {
          resolve({ state: 'ended', phase: 'end', candidates: 3, deleted: 0 })
          return { state: 'running', phase: 'walk' }
        }
        expect(json).toEqual({ dryRun: true, wait: true })
        return promise
      },
    }
    const told: unknown[] = []
    const call = createCall({ daemon })
    call.progress = (...said) => told.push(said)
    const { result } = await run(gcRun, {}, call)
    expect(result).toMatchObject({ state: 'ended', candidates: 3 })
    expect(told).toEqual([[1, 3, 'walk']])
  })
})

describe('nodes', () => {
  const nodes = ['c', 'a', 'e', 'b', 'd'].map((peerId): NodeJSON => ({
    peerId,
    name: peerId < 'c' ? 'twin' : `node-${peerId}`,
    state: 'live',
  }))
  const asked: string[] = []
  const call = createCall({
    daemon: {
      call: async ({ path }: { path: string }) => {
        asked.push(path)
        return { nodes }
      },
    },
  })

  it('are listed in pages', async () => {
    const seen: string[] = []
    let cursor: unknown = undefined
    do {
      const { result } = await run(nodeList, { limit: 2, ...(cursor ? { cursor } : {}) }, call)
      seen.push(...(result['items'] as { peer_id: string }[]).map(({ peer_id }) => peer_id))
      cursor = result['next_cursor']
    } while (cursor !== null && seen.length < 10)
    expect(seen).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  it('are never removed by a name that several have', async () => {
    const remove = (node: string) => run(nodeRemove, { node, dry_run: false }, call)
    asked.length = 0
    await expect(remove('twin')).rejects.toThrow('Several nodes')
    await expect(remove('nobody')).rejects.toThrow('No member')
    expect(asked.filter((path) => path.endsWith('/remove'))).toEqual([])
    await remove('a')
    expect(asked.at(-1)).toBe('/v1/nodes/a/remove')
  })
})

describe('completions', () => {
  it('find what begins with what was typed, however much comes before it', async () => {
    const ids = Array.from({ length: 2_000 }, (_, index) => `agent-${1_000 + index}@apollo`)
    ids.push('agent-b@apollo', 'agent-c@apollo')
    // As the daemon pages: in their order, behind `after`.
    const daemon = {
      call: async ({ path }: { path: string }) => {
        const query = new URL(path, 'http://daemon').searchParams
        const left = ids.filter((id) => id > query.get('after')!)
        return { agents: left.slice(0, Number(query.get('limit'))).map((agent) => ({ agent })) }
      },
    }
    const call = createCall({ daemon })
    call.caller.claims = { ...call.caller.claims, scopes: ['agent:read'] }
    expect(await completeAgent('agent-b', call)).toEqual(['agent-b@apollo'])
    expect(await completeAgent('agent-29', call)).toHaveLength(100)
    expect(await completeAgent('', call)).toContain('agent-1000@apollo')
  })
})

describe('progress', () => {
  const told: number[] = []
  const context = (progressToken?: string) =>
    ({
      mcpReq: {
        signal: new AbortController().signal,
        _meta: { progressToken },
        notify: async ({ params }: { params: { progress: number } }) => {
          told.push(params.progress)
        },
      },
    }) as unknown as Parameters<typeof toCall>[2]
  const exchange = { caller: {}, view: { toolNames: [] } } as unknown as Exchange
  const given = { services: {} as Call['services'], callsPerMinuteMax: 1 }

  it('only grows, and is told to who asked for it', () => {
    const call = toCall(exchange, given, context('t'))
    for (const done of [0, 0, 100, 100, 40]) call.progress(done, 100, 'working')
    expect(told).toEqual([0, 100])
    toCall(exchange, given, context()).progress(1, 2, 'unheard')
    expect(told).toEqual([0, 100])
  })
})
