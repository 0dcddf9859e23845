import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { partProcess, type ReadyMessage } from '../../../cli/up/child-process.ts'
import { openLogFile } from '../../../cli/up/log-file.ts'
import { SupervisedProcess } from '../../../cli/up/supervised-process.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'

let folder: string
let running: SupervisedProcess<ReadyMessage>[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-process-'))
  running = []
})

afterEach(async () => {
  await Promise.all(running.map((part) => part.stop()))
  await rm(folder, { recursive: true, force: true })
})

const READY = `process.send({ ready: true, ports: {} });`
const STAY = `setInterval(() => {}, 1000);`
const LEAVE_ON_TERM = `process.on('SIGTERM', () => { console.log('bye'); process.exit(0) });`

/** A part whose program is the given script. */
function create(script: string, init: { stopTimeoutMs?: number } = {}) {
  const logFile = join(folder, 'part.log')
  const ready: ReadyMessage[] = []
  const spec = partProcess({
    name: 'part',
    entry: 'unused',
    env: {},
    logFile,
    stopTimeoutMs: init.stopTimeoutMs ?? 10_000,
  })
  const part = new SupervisedProcess<ReadyMessage>(
    { log: createSilentLogger() },
    {
      spec: {
        ...spec,
        spawn: () => {
          const fd = openLogFile(logFile)
          const stdio = ['ignore', fd, fd, 'ipc'] as const
          const child = spawn(process.execPath, ['-e', script], {
            detached: true,
            stdio: [...stdio],
          })
          closeSync(fd)
          return child
        },
      },
      onReady: (message) => ready.push(message),
    },
  )
  running.push(part)
  return { part, ready, readLog: () => readFile(logFile, 'utf8') }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('supervised-process', () => {
  it('starts, hands on what the part said, and lets it leave in its own way', async () => {
    const { part, readLog } = create(
      `${LEAVE_ON_TERM} process.send({ ready: true, ports: { http: 1 }, peerId: 'p' });${STAY}`,
    )
    expect(await part.start()).toEqual({ ready: true, ports: { http: 1 }, peerId: 'p' })
    const pid = part.pid!
    expect(isAlive(pid)).toBe(true)
    await part.stop()
    expect(isAlive(pid)).toBe(false)
    expect(part.pid).toBe(null)
    expect(await readLog()).toBe('bye\n')
  })

  it('kills a part that does not leave in time', async () => {
    const { part } = create(`process.on('SIGTERM', () => {});${READY}${STAY}`, {
      stopTimeoutMs: 50,
    })
    await part.start()
    const pid = part.pid!
    await part.stop()
    expect(isAlive(pid)).toBe(false)
  })

  it('kills at once when the stop is forced', async () => {
    const { part } = create(`process.on('SIGTERM', () => {});${READY}${STAY}`, {
      stopTimeoutMs: 2 ** 30,
    })
    await part.start()
    await part.stop({ force: AbortSignal.abort() })
    expect(part.pid).toBe(null)
  })

  it('starts a part again that was killed', async () => {
    const { part, ready } = create(`${READY}${STAY}`)
    await part.start()
    const first = part.pid!
    process.kill(first, 'SIGKILL')
    await expect.poll(() => ready.length, { timeout: 10_000 }).toBe(2)
    expect(part.pid).not.toBe(first)
    expect(part.restarts).toBe(1)
  })

  it('does not start a part again after its stop', async () => {
    const { part, ready } = create(`${READY}${STAY}`)
    await part.start()
    process.kill(part.pid!, 'SIGKILL')
    await part.stop()
    expect(part.pid).toBe(null)
    expect(ready).toHaveLength(1)
  })

  it('fails with what the part said about itself', async () => {
    const { part } = create(
      `process.send({ error: { code: 'BZZZ_CONFIG_INVALID', message: 'No such thing.' } });${STAY}`,
    )
    await expect(part.start()).rejects.toMatchObject({
      code: 'BZZZ_PROCESS_START',
      message: 'part did not start: No such thing.',
    })
    expect(part.pid).toBe(null)
  })

  it('fails with the last words of a part that ends without a message', async () => {
    const { part } = create(`console.error('the disk is on fire'); process.exit(3)`)
    await expect(part.start()).rejects.toMatchObject({
      message: 'part did not start: it ended with exit code 3.\nthe disk is on fire',
    })
  })

  it('gives up a start that is called off', async () => {
    const { part } = create(STAY)
    const calledOff = new AbortController()
    const starting = part.start({ signal: calledOff.signal })
    calledOff.abort(new Error('never mind'))
    await expect(starting).rejects.toThrow('never mind')
    expect(part.pid).toBe(null)
  })
})
