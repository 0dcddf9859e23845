import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { Threads } from '../../shared/thread/threads.ts'
import { startChild, type Child } from '../helpers/child.ts'
import { bundleDaemon } from '../helpers/daemon-bundle.ts'
import { startDaemons, type Daemons } from '../helpers/daemons.ts'
import { startTestPostgres, type TestPostgres } from '../helpers/postgres.ts'
import { beginFault, sawReady, sleep } from './rounds.ts'

/** Agents that append to one thread at once, each its next when the last was answered. */
const AGENTS = 24

/** How long they write before something dies. */
const WRITE_MS = 500

const NAME = 'bzzz://crowd@faults/thread'

type FunctionProcess = Child<{ port: number }>

let dir: string
let daemons: Daemons
let postgres: TestPostgres
let databaseURL: string
/** Two replicas of the function, which ask different nodes first. */
let replicas: FunctionProcess[]

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bzzz-thread-faults-'))
  const main = await bundleDaemon(dir)
  ;[daemons, postgres] = await Promise.all([startDaemons(3, { main }), startTestPostgres()])
  databaseURL = (await postgres.openMigrated()).url
  replicas = await Promise.all([startReplica(0), startReplica(1)])
}, 120_000)

afterAll(async () => {
  await Promise.all(replicas?.map((replica) => replica.stop()) ?? [])
  await daemons?.stop()
  await postgres?.stop()
  await rm(dir, { recursive: true, force: true })
})

/** The nodes in another order for each replica. */
function endpoints(first: number): string {
  const urls = daemons.nodes.filter(({ running }) => running).map(({ url }) => url)
  return [...urls.slice(first), ...urls.slice(0, first)].join(',')
}

function startReplica(index: number): Promise<FunctionProcess> {
  return startChild(new URL('../helpers/thread-function.ts', import.meta.url), {
    env: {
      DATABASE_URL: databaseURL,
      BZZZ_ENDPOINT: endpoints(index),
      BZZZ_TOKEN_KEYS_FILE: daemons.tokenKeysFile,
    },
  })
}

/** Undefined: whether it is in the thread is open. */
async function append(agent: number, text: string): Promise<string | undefined> {
  const { port } = replicas[agent % replicas.length]!.ready
  try {
    const answer = await fetch(
      `http://127.0.0.1:${port}/v1/threads/messages?address=${encodeURIComponent(NAME)}`,
      {
        method: 'POST',
        headers: { authorization: `Bearer ${daemons.token}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          messages: [{ role: 'assistant', content: text, key: text }],
          create: true,
        }),
      },
    )
    if (!answer.ok) return undefined
    const { messages } = (await answer.json()) as { messages: { hash: string }[] }
    return messages[0]!.hash
  } catch {
    return undefined
  }
}

/** What was acknowledged, and what was sent, by text. */
const acknowledged = new Map<string, string>()
const sent = new Set<string>()

async function write(agent: number, until: AbortSignal, round: number): Promise<void> {
  for (let each = 0; !until.aborted; each += 1) {
    const text = `round ${round}, agent ${agent}, message ${each}`
    sent.add(text)
    let hash = await append(agent, text)
    // As an agent does: the same message with the same key until it is answered.
    while (hash === undefined && !until.aborted) {
      await sleep(50)
      hash = await append(agent, text)
    }
    if (hash !== undefined) acknowledged.set(text, hash)
  }
}

describe('threads, when what serves them dies', () => {
  it('keep what was acknowledged, each message once', async (context) => {
    const rounds = { short: 1, long: 20 }
    const fault = 'kill -9 of a replica and a node under appends; the database lost'
    const { row, random } = beginFault(context, { fault, rounds })
    for (let round = 0; round < row.rounds; round += 1) {
      const over = new AbortController()
      const writers = Array.from({ length: AGENTS }, (_, agent) => write(agent, over.signal, round))
      await sleep(WRITE_MS * (1 + random()))
      // In the middle of whatever they do.
      const victim = Math.floor(random() * replicas.length)
      await replicas[victim]!.kill()
      replicas[victim] = await startReplica(victim)
      await sleep(WRITE_MS)
      const node = daemons.nodes[Math.floor(random() * daemons.nodes.length)]!
      await node.kill()
      await sleep(WRITE_MS)
      over.abort()
      await Promise.all(writers)
      await node.start()
      sawReady(row, node)
      await daemons.meshed()
      row.lost += await countLost()
      row.note = `${acknowledged.size} messages acknowledged of ${sent.size}`
      expect(row.lost).toBe(0)
      // The node has another port now.
      await Promise.all(replicas.map((replica) => replica.stop()))
      replicas = await Promise.all([startReplica(0), startReplica(1)])
    }
  })
})

/** Reads everything from the blobs into a database that has never seen it. */
async function countLost(): Promise<number> {
  const daemon = new DaemonClient({ endpoints: endpoints(2).split(',') })
  const empty = await postgres.openMigrated()
  const threads = new Threads({ daemon, db: empty.db })
  const { token } = daemons
  const done = await threads.reindex(daemon, { token })
  expect(done).toMatchObject({ threads: 1, damaged: [] })
  const found = new Map<string, string>()
  let after: string | undefined
  do {
    const place = after === undefined ? {} : { after }
    const page = await threads.read(NAME, { ...place, limit: PAGE_SIZE_MAX }, { token })
    for (const { hash, content = '' } of page.messages) {
      // Each once, however often it was sent.
      expect(found.has(content), content).toBe(false)
      expect(sent.has(content), content).toBe(true)
      found.set(content, hash)
    }
    after = page.next ?? undefined
  } while (after !== undefined)
  expect(acknowledged.size).toBeGreaterThan(0)
  expect(await threads.verify(NAME, { token })).toMatchObject({ whole: true, problems: [] })
  await daemon.close()
  return [...acknowledged].filter(([text, hash]) => found.get(text) !== hash).length
}
