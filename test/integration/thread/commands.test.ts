import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../../cli/cli.ts'
import { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import type { BzzzDatabase, OpenDatabase } from '../../../shared/db/database.ts'
import { Threads } from '../../../shared/thread/threads.ts'
import { createCommandHost } from '../../helpers/command-host.ts'
import { startTestGateway, type TestGateway } from '../../helpers/gateway.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const NAME = 'bzzz://me@apollo/talk'
const HANDLER = join(import.meta.dirname, '../../../functions/threads')

const STACK = `
version: 1.0
provider: {name: openfaas}
functions:
  threads:
    lang: node24-ts
    handler: ${HANDLER}
    image: registry.example/threads:v1
`

let daemon: MemoryDaemon
let postgres: TestPostgres
let gateway: TestGateway
let env: Record<string, string>
let database: OpenDatabase

beforeAll(async () => {
  ;[daemon, postgres] = await Promise.all([startMemoryDaemon(), startTestPostgres()])
  const { url: databaseURL, ...opened } = await postgres.openMigrated()
  database = opened
  const shared = { BZZZ_ENDPOINT: daemon.url, DATABASE_URL: databaseURL }
  const keys = { BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile }
  gateway = await startTestGateway({ stack: STACK, env: { ...shared, ...keys } })
  const BZZZ_TOKEN = await daemon.tokens.create({ subject: 'me' })
  env = { ...shared, BZZZ_TOKEN, BZZZ_GATEWAY_URL: gateway.url }
}, 120_000)

afterAll(async () => {
  await gateway?.stop()
  await postgres?.stop()
  await daemon?.close()
})

async function run(args: readonly string[], init: { stdin?: string; isTTY?: boolean } = {}) {
  const { host, stdout, stderr } = createCommandHost(env, Buffer.from(init.stdin ?? ''))
  stderr.isTTY = init.isTTY ?? false
  const exitCode = await runCli(['thread', ...args], host)
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() }
}

describe('bzzz thread', () => {
  it('creates, appends, reads, forks, lists and searches', async () => {
    const created = await run(['create', NAME, '--title', 'A talk'])
    expect(created).toMatchObject({ exitCode: 0, stderr: '' })
    expect(created.stdout).toContain('title     A talk\n')
    const first = await run(['append', NAME, 'where is the honey?', '--key', '1'])
    expect(first.stdout).toMatch(/^#1 {2}[0-9a-f]{64} {2}version 2\n$/)
    expect((await run(['append', NAME, 'where is the honey?', '--key', '1'])).stdout).toContain(
      'was there already',
    )
    const piped = ['append', NAME, '--role', 'assistant', '--ref', 'bzzz://me@apollo/map']
    await run(piped, { stdin: 'in the hive\u001b[31m' })
    const read = await run(['read', NAME])
    expect(read.stdout).toMatch(/^#1 user me {2}\S+Z\nwhere is the honey\?\n\n#2 assistant me/)
    expect(read.stdout).toContain('  -> bzzz://me@apollo/map\n')
    expect(read.stdout).not.toContain('\u001b')
    const page = await run(['read', NAME, '--reverse', '--limit', '1'])
    const [, cursor] = /More with --after (\S+)\n$/.exec(page.stdout)!
    expect((await run(['read', NAME, '--reverse', '--after', cursor!])).stdout).toMatch(/^#1 user/)
    const hash = first.stdout.slice(4, 68)
    const forked = await run(['fork', NAME, `${NAME}/fork`, '--at', hash])
    expect(forked.stdout).toContain(`from      ${NAME}, after message 1\n`)
    const listed = await run(['ls'])
    expect(listed.stdout).toMatch(/^ADDRESS +MESSAGES +BEGUN BY +LAST CHANGE +TITLE\n/)
    expect(listed.stdout).toMatch(/talk +2 +me +\S+ +A talk\n/)
    expect((await run(['search', 'honey'])).stdout).toMatch(
      /talk +1 +user +me +where is the honey\?/,
    )
    const none = await run(['search', 'honey', '--in', 'bzzz://*:*@gemini:*/'])
    expect(none.stdout).toBe('Nothing was found.\n')
    const json = JSON.parse((await run(['read', NAME, '--json'])).stdout)
    expect(json).toMatchObject({ thread: { address: NAME }, messages: [{ seq: 1 }, { seq: 2 }] })
  })

  it('verifies with a bar on a terminal, and fails for a thread that is not whole', async () => {
    const whole = await run(['verify', NAME], { isTTY: true })
    expect(whole).toMatchObject({ exitCode: 0 })
    expect(whole.stdout).toContain('is whole: 2 messages')
    expect(whole.stderr).toContain('░')
    const address = 'bzzz://me@apollo/damaged'
    await run(['append', address, 'to be lost', '--create'])
    const said = JSON.parse((await run(['read', address, '--json'])).stdout)
    await daemon.store.delete(said.messages[0].hash)
    const damaged = await run(['verify', address])
    expect(damaged.exitCode).toBe(1)
    expect(damaged.stdout).toMatch(/is not whole[^]*\nmessage +2 +[0-9a-f]{12} +/)
    expect(damaged.stderr).toContain('is not as it was written')
  })

  it('exports Markdown and JSON', async () => {
    const markdown = await run(['export', NAME])
    expect(markdown.stdout).toContain('# A talk\n')
    expect(markdown.stdout).toContain('## 1. user: me\n')
    const json = JSON.parse((await run(['export', NAME, '--format', 'json'])).stdout)
    expect(json.messages).toHaveLength(2)
  })

  it('says what is wrong', async () => {
    const missing = await run(['read', 'bzzz://me@apollo/none'])
    expect(missing).toMatchObject({ exitCode: 1 })
    expect(missing.stderr).toContain('Nothing is stored')
    expect(await run(['append', NAME, 'x', '--role', 'robot'])).toMatchObject({ exitCode: 2 })
    const both = await run(['append', NAME, 'x', '--file', 'y'])
    expect(both).toMatchObject({ exitCode: 1 })
  })
})

describe('bzzz doctor --reindex', () => {
  it('reads every thread into an empty database, and shows how far it is', async () => {
    const empty = await postgres.openMigrated()
    const { host, stdout, stderr } = createCommandHost({ ...env, DATABASE_URL: empty.url })
    stderr.isTTY = true
    expect(await runCli(['doctor', '--reindex'], host)).toBe(0)
    expect(stderr.text()).toContain('░')
    // The damaged thread of the test above is told of, and the others are whole.
    expect(stdout.text()).toMatch(
      /^3 threads with 2 messages are in the index\.\nNot to be read: [0-9a-f]{64} of \S+damaged$/m,
    )
    const client = new DaemonClient({ endpoints: [daemon.url] })
    const shown = async (db: BzzzDatabase) => {
      const threads = new Threads({ daemon: client, db })
      const { messages } = await threads.read(NAME, {}, { token: env['BZZZ_TOKEN']! })
      const found = await threads.search({ text: 'honey', projects: ['*'] })
      return { messages, found }
    }
    expect(await shown(empty.db)).toEqual(await shown(database.db))
    await client.close()
  })
})
