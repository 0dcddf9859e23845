import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { findFreePort } from '../../cli/up/ports.ts'
import { findPortOffset, makeTempDir, runCLI } from '../helpers/cluster.ts'

let base: string

beforeEach(async () => {
  base = await makeTempDir()
})

afterEach(() => rm(base, { recursive: true, force: true }))

async function up(dataDir: string, env: Record<string, string> = {}, args: string[] = []) {
  const offset = await findPortOffset(3)
  return runCLI(['up', '--data', dataDir, '--port-offset', String(offset), ...args], { env })
}

/** One sentence with its code, exit code 1, nothing on stdout. */
function expectRefusal(result: Awaited<ReturnType<typeof runCLI>>, sentence: RegExp): void {
  expect(result.stderr).toMatch(/^bzzz: [^\n]+\. \(BZZZ_[A-Z_]+\)\n$/)
  expect(result.stderr).toMatch(sentence)
  expect(result).toMatchObject({ exitCode: 1, stdout: '' })
}

describe('bzzz up refuses', () => {
  it('a folder with the files of somebody else', async () => {
    await writeFile(join(base, 'thesis.txt'), 'mine')
    expectRefusal(await up(base), /other files.*--data.*BZZZ_DATA_FOLDER_FOREIGN/)
    expect(await readdir(base)).toEqual(['thesis.txt'])
  })

  it('a folder that a newer version wrote', async () => {
    const marker = { format: 99, createdBy: '9.0.0', createdAt: '2030-01-01T00:00:00Z' }
    await writeFile(join(base, 'bzzz.json'), JSON.stringify(marker))
    expectRefusal(await up(base), /format 99.*9\.0\.0.*BZZZ_DATA_FOLDER_NEWER/)
    expect(await readdir(base)).toEqual(['bzzz.json'])
  })

  it('a file, and a place where no folder can be made', async () => {
    await writeFile(join(base, 'file'), '')
    expectRefusal(await up(join(base, 'file')), /is a file.*BZZZ_DATA_FOLDER_UNWRITABLE/)
    // Permissions do not stop root; the kernel's own file system does.
    const isRoot = process.getuid?.() === 0
    if (!isRoot) await mkdir(join(base, 'closed'), { mode: 0o500 })
    const closed = isRoot ? '/proc/bzzz-test' : join(base, 'closed/data')
    expectRefusal(await up(closed), /cannot be written to.*BZZZ_DATA_FOLDER_UNWRITABLE/)
  })

  it('a database that was lost', async () => {
    const marker = { format: 1, createdBy: '2.0.0', createdAt: '2026-01-01T00:00:00Z' }
    const postgres = { major: 18 }
    await writeFile(join(base, 'bzzz.json'), JSON.stringify({ ...marker, postgres }))
    const { stderr, exitCode } = await up(base)
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/never made over a used one.*BZZZ_DATA_FOLDER_INCOMPLETE/)
  })

  it('a port that somebody holds', async () => {
    const offset = await findPortOffset(1)
    const server = createServer().listen(9101 + offset, '127.0.0.1')
    await once(server, 'listening')
    const dataDir = join(base, 'data')
    const args = ['up', '--data', dataDir, '--nodes', '1', '--port-offset', String(offset)]
    const result = await runCLI(args)
    server.close()
    const sentence = `Port ${9101 + offset}, meant for libp2p of walnut, is already in use`
    expectRefusal(result, new RegExp(`${sentence}.*--port-offset.*BZZZ_PORT_IN_USE`))
    expect(await readdir(base)).toEqual([])
  })

  it('a PostgreSQL that does not answer, without telling the password', async () => {
    const port = await findFreePort()
    const result = await up(join(base, 'data'), {
      DATABASE_URL: `postgres://user:hunter2@127.0.0.1:${port}/team`,
    })
    expectRefusal(result, new RegExp(`127\\.0\\.0\\.1:${port}/team.*BZZZ_DATABASE_UNAVAILABLE`))
    expect(result.stderr).not.toContain('hunter2')
    expect(await readdir(base)).toEqual([])
  })

  it('a Redis that does not answer, without telling the password', async () => {
    const port = await findFreePort()
    const result = await up(join(base, 'data'), {
      REDIS_URL: `redis://:hunter2@127.0.0.1:${port}`,
    })
    expectRefusal(result, new RegExp(`127\\.0\\.0\\.1:${port}.*BZZZ_REDIS_UNAVAILABLE`))
    expect(result.stderr).not.toContain('hunter2')
    expect(await readdir(base)).toEqual([])
  })

  it('a URL it cannot read, without telling it', async () => {
    const result = await up(join(base, 'data'), { DATABASE_URL: 'hunter2@nowhere:port:port' })
    expect(result.exitCode).toBe(1)
    expect(result.stderr).toContain('DATABASE_URL')
    expect(result.stderr).not.toContain('hunter2')
  })

  it('an environment it does not understand, naming every variable', async () => {
    const result = await up(join(base, 'data'), { BZZZ_LOG_LEVEL: 'loud', BZZZ_PORT_OFFSET: 'x' })
    expect(result.exitCode).toBe(1)
    expect(result.stderr).toMatch(/^bzzz: .*\(BZZZ_CONFIG_INVALID\)\n/)
    expect(result.stderr).toContain('BZZZ_LOG_LEVEL')
    expect(result.stderr).toContain('BZZZ_PORT_OFFSET')
  })
})
