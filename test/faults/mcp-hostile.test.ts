import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startMemoryDaemon, type MemoryDaemon } from '../helpers/memory-daemon.ts'
import { modernRequest, startMcp, type TestMcp } from '../helpers/mcp.ts'
import { hostileRequest } from './mcp-hostile.ts'
import { beginFault } from './rounds.ts'

/** Callers at once, each with a token of its own. */
const CLIENTS = 64

/** Every how many hostile requests a client asks who it is. */
const WHOAMI_EVERY = 8

/** Ends a hang: the long form is a hundred thousand requests on whatever else the machine does. */
const TIMEOUT_MS = 3_600_000

/** What a request that is wrong may be answered with. */
const DECLARED = [200, 202, 400, 403, 404, 405, 406, 413, 415, 429]

let daemon: MemoryDaemon
let mcp: TestMcp

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  mcp = await startMcp(daemon, { BZZZ_MCP_TOOL_RPM: '100000000' })
})

afterAll(async () => {
  await mcp.close()
  await daemon.close()
})

async function send(headers: Record<string, string>, payload: string) {
  const url = '/mcp?toolsets=all'
  const answer = await mcp.app.inject({ method: 'POST', url, headers, payload })
  return { status: answer.statusCode, text: answer.payload }
}

/** An error that nobody foresaw, wherever it stands in the answer. */
function isInternal(text: string): boolean {
  return text.includes('BZZZ_INTERNAL') || text.includes('Internal server error')
}

describe('mcp: hostile callers', () => {
  it(
    'answers malformed messages as declared, and each caller with its own',
    { timeout: TIMEOUT_MS },
    async (context) => {
      const { row, random } = beginFault(context, {
        fault: 'malformed MCP messages, 64 callers interleaved',
        rounds: { short: 6_400, long: 100_000 },
      })
      const statuses = new Map<number, number>()
      const client = async (index: number) => {
        const subject = `client-${index}`
        const token = await daemon.tokens.create({ subject, role: index % 2 ? 'agent' : 'admin' })
        for (let round = 0; round < row.rounds / CLIENTS; round += 1) {
          const { headers, payload } = hostileRequest(random, token)
          const { status, text } = await send(headers, payload)
          statuses.set(status, (statuses.get(status) ?? 0) + 1)
          if (!DECLARED.includes(status) || isInternal(text)) {
            expect.fail(`${status} for ${payload.slice(0, 500)}: ${text.slice(0, 500)}`)
          }
          if (round % WHOAMI_EVERY > 0) continue
          const id = `${subject}-${round}`
          const params = { name: 'mesh_whoami', arguments: {} }
          const who = modernRequest(token, { method: 'tools/call', params, id })
          const own = await send(who.headers, JSON.stringify(who.body))
          const { id: answered, result } = JSON.parse(own.text) as {
            id: string
            result: { structuredContent: { subject: string } }
          }
          if (answered !== id || result.structuredContent.subject !== subject) row.wrong += 1
        }
      }
      await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(index)))
      row.note = [...statuses]
        .toSorted(([a], [b]) => a - b)
        .map(([status, count]) => `${status}: ${count}`)
        .join(', ')
      expect(row.wrong).toBe(0)
      // Most of it was wrong in a way that was noticed, and some came through to tools.
      expect(statuses.get(400)).toBeGreaterThan(row.rounds / 10)
      expect(statuses.get(200)).toBeGreaterThan(row.rounds / 10)
    },
  )
})
