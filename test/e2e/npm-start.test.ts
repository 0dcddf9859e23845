import { execFile, spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { findPortOffset, userEnv } from '../helpers/cluster.ts'
import { killTree, processTree, stillRunning } from '../helpers/processes.ts'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

let base: string
let npm: ChildProcess | undefined

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'bzzz-npm-'))
})

afterEach(async () => {
  if (npm?.pid !== undefined) await killTree(npm.pid)
  await rm(base, { recursive: true, force: true })
})

/** What is printed until a line contains `last`. The rest is read and dropped. */
function readUntil(child: ChildProcess, last: string): Promise<string> {
  let said = ''
  return new Promise((resolve, reject) => {
    child.stdout!.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes(last)) resolve(said)
    })
    child.stdout!.on('end', () => reject(new Error(`It ended before it said ${last}:\n${said}`)))
  })
}

describe('npm start', () => {
  it('prints commands that work, and ends in order by Ctrl-C', async () => {
    const env = userEnv({
      BZZZ_DATA: join(base, 'data'),
      BZZZ_PORT_OFFSET: String(await findPortOffset(1)),
    })
    // As a shell starts it: npm and what it runs are one process group.
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe']
    npm = spawn('npm', ['start'], { cwd: PROJECT, env, stdio, detached: true })
    let complaints = ''
    npm.stderr!.on('data', (chunk: Buffer) => (complaints += chunk.toString()))
    const said = await readUntil(npm, 'npx bzzz status')
    for (const [index, part] of ['postgres', 'walnut', 'gateway', 'connector'].entries()) {
      expect(said).toMatch(new RegExp(`\\[${index + 1}/4\\] ${part} +ready`))
    }

    const [exportLine] = /export BZZZ_TOKEN=\S+/.exec(said)!
    const commands = said.slice(said.indexOf('Try:\n') + 'Try:\n'.length)
    const script = `set -e\n${exportLine}\n${commands}`
    const { stdout } = await promisify(execFile)('sh', ['-c', script], { cwd: PROJECT, env })
    expect(stdout).toContain('"address":"bzzz://me@demo/hello.txt"')
    expect(stdout).toContain('Hello from bzzz.')
    expect(stdout).toMatch(/^walnut .* 0 of 0 /m)

    const tree = await processTree(npm.pid!)
    // As a terminal does: npm hears it, passes it on, and our own process hears it as well.
    process.kill(-npm.pid!, 'SIGINT')
    await once(npm, 'close')
    await expect.poll(() => stillRunning(tree), { timeout: 30_000, interval: 100 }).toEqual([])
    expect(complaints).toContain('bzzz: stopping')
    expect(complaints).not.toContain('is killed')
  })
})
