import { appendFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import type { AuditEvent } from '../../../shared/audit/audit-entry.ts'
import { AuditLog, type AuditLogInit } from '../../../shared/audit/audit-log.ts'
import { listRows, verifyDatabase } from '../../../shared/audit/audit-store.ts'
import { openDatabase, type OpenDatabase } from '../../../shared/db/database.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { until } from '../../helpers/mesh.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const log = createSilentLogger()

let postgres: TestPostgres
let database: OpenDatabase & { url: string }
let folder: string
let open: AuditLog[] = []

beforeAll(async () => {
  postgres = await startTestPostgres()
})

afterAll(() => postgres.stop())

beforeEach(async () => {
  database = await postgres.openMigrated()
  folder = await mkdtemp(join(tmpdir(), 'bzzz-audit-'))
  open = []
})

afterEach(async () => {
  await Promise.all(open.map((one) => one.stop()))
  await rm(folder, { recursive: true })
})

async function start(db = database.db, init: Partial<AuditLogInit> = {}): Promise<AuditLog> {
  const audit = new AuditLog({ db, log }, { component: 'test', spoolDir: folder, ...init })
  open.push(audit)
  await audit.start()
  return audit
}

function event(resource: string): Omit<AuditEvent, 'component'> {
  const who = { actor: 'ada', tokenId: 'id-1', remote: '127.0.0.1' }
  const what = { action: 'PUT /v1/blobs', resource, outcome: 'allow' as const, status: 201 }
  return { ...who, ...what, requestId: 'request-1', argumentsHash: '' }
}

async function resources(): Promise<string[]> {
  const rows = await listRows(database.db, { limit: 10_000 })
  return rows.map(({ resource }) => resource).toReversed()
}

const untilWritten = (count: number) =>
  until(async () => (await resources()).length >= count, `${count} rows`)

/** A way to the database that can be cut and opened again. */
async function createDetour(
  url: string,
): Promise<{ url: string; cut(): void; open(): void } & AsyncDisposable> {
  const target = new URL(url)
  let closed = false
  const sockets = new Set<{ destroy(): void }>()
  const server: Server = createServer((socket) => {
    if (closed) return void socket.destroy()
    const upstream = connect(Number(target.port), target.hostname)
    for (const one of [socket, upstream]) {
      sockets.add(one)
      one.on('error', () => undefined)
      one.on('close', () => {
        socket.destroy()
        upstream.destroy()
      })
    }
    socket.pipe(upstream).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const detour = new URL(url)
  detour.hostname = '127.0.0.1'
  detour.port = String((server.address() as AddressInfo).port)
  return {
    url: detour.href,
    cut: () => {
      closed = true
      for (const socket of sockets) socket.destroy()
    },
    open: () => (closed = false),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('audit-log', () => {
  it('chains the rows of writers that write at once', async () => {
    const writers = await Promise.all(
      ['a', 'b', 'c', 'd'].map((component) => start(database.db, { component })),
    )
    for (let count = 0; count < 50; count += 1) {
      for (const [index, writer] of writers.entries()) writer.record(event(`${index} ${count}`))
    }
    await untilWritten(200)
    expect(await verifyDatabase(database.db)).toMatchObject({ whole: true, head: { seq: 200 } })
    const written = await resources()
    expect(new Set(written).size).toBe(200)
    for (const index of ['0', '1', '2', '3']) {
      // Each writer's own in the order in which it told them.
      const own = written.filter((resource) => resource.startsWith(`${index} `))
      expect(own).toEqual(Array.from({ length: 50 }, (_, count) => `${index} ${count}`))
    }
  })

  it('writes down what a database would not keep as it is', async () => {
    const audit = await start()
    audit.record(event(`nul \0 half \ud800 long ${'x'.repeat(5000)}`))
    await untilWritten(1)
    expect((await resources())[0]).toMatch(/^nul {2}half \ufffd long x+$/)
    expect(await verifyDatabase(database.db)).toMatchObject({ whole: true })
  })

  it('loses nothing while the database is away, and catches up by itself', async () => {
    await using detour = await createDetour(database.url)
    const away: OpenDatabase = openDatabase(detour.url, { log })
    const audit = await start(away.db)
    audit.record(event('before'))
    await untilWritten(1)
    detour.cut()
    audit.record(event('during 1'))
    await until(async () => (await readdir(folder)).length === 1, 'the spool')
    audit.record(event('during 2'))
    detour.open()
    await untilWritten(3)
    audit.record(event('after'))
    await untilWritten(4)
    expect(await resources()).toEqual(['before', 'during 1', 'during 2', 'after'])
    await until(async () => (await readdir(folder)).length === 0, 'an empty spool')
    expect(await verifyDatabase(database.db)).toMatchObject({ whole: true })
    await audit.stop()
    await away.close()
  })

  it('hands what it could not write to the next process, over a torn line too', async () => {
    await using detour = await createDetour(database.url)
    detour.cut()
    const away: OpenDatabase = openDatabase(detour.url, { log })
    const first = await start(away.db)
    first.record(event('one'))
    first.record(event('two'))
    await first.stop()
    await away.close()
    const [file = ''] = await readdir(folder)
    const text = await readFile(join(folder, file), 'utf8')
    // As if the process had been killed in the middle of another line.
    await appendFile(join(folder, file), text.trim().slice(0, 40))
    const second = await start()
    second.record(event('three'))
    await untilWritten(3)
    expect(await resources()).toEqual(['one', 'two', 'three'])
    await until(async () => (await readdir(folder)).length === 0, 'an empty spool')
  })

  it('writes once what an earlier process wrote and could not strike off', async () => {
    await using detour = await createDetour(database.url)
    detour.cut()
    const away: OpenDatabase = openDatabase(detour.url, { log })
    const first = await start(away.db)
    first.record(event('one'))
    await first.stop()
    await away.close()
    const [file = ''] = await readdir(folder)
    const text = await readFile(join(folder, file), 'utf8')
    await (await start()).stop()
    await untilWritten(1)
    await appendFile(join(folder, file), text)
    const third = await start()
    third.record(event('two'))
    await untilWritten(2)
    expect(await resources()).toEqual(['one', 'two'])
  })

  it('refuses more when as many wait as may, and drops none', async () => {
    await using detour = await createDetour(database.url)
    detour.cut()
    const away: OpenDatabase = openDatabase(detour.url, { log })
    const audit = await start(away.db, { pendingMax: 2 })
    audit.record(event('one'))
    audit.assertRoom()
    audit.record(event('two'))
    expect(() => audit.assertRoom()).toThrow(
      expect.objectContaining({ code: 'BZZZ_AUDIT_UNAVAILABLE', retryAfterSeconds: 5 }),
    )
    detour.open()
    await untilWritten(2)
    await until(() => {
      try {
        audit.assertRoom()
        return true
      } catch {
        return false
      }
    }, 'room')
    await audit.stop()
    await away.close()
  })

  it('is not changed by mistake, and shows it when it is changed on purpose', async () => {
    const audit = await start()
    for (const name of ['one', 'two', 'three']) audit.record(event(name))
    await untilWritten(3)
    const { url } = database
    for (const change of [
      `update audit set actor = 'eve'`,
      'delete from audit',
      'truncate audit',
    ]) {
      await expect(postgres.query(url, change)).rejects.toThrow('audit rows are only ever added')
    }
    await postgres.query(url, 'alter table audit disable trigger all')
    await postgres.query(url, `update audit set actor = 'eve' where seq = 2`)
    expect(await verifyDatabase(database.db)).toEqual({
      whole: false,
      brokenAt: 2,
      reason: 'it was changed',
    })
    await postgres.query(url, `update audit set actor = 'ada' where seq = 2`)
    expect(await verifyDatabase(database.db)).toMatchObject({ whole: true })
    await postgres.query(url, 'delete from audit where seq = 3')
    expect(await verifyDatabase(database.db)).toMatchObject({ whole: false, brokenAt: 3 })
  })
})
