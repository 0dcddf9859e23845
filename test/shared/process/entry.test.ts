import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

import { afterEach, describe, expect, it } from 'vitest'

const FIXTURE = new URL('entry-fixture.ts', import.meta.url)

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

function start(env: Record<string, string> = {}) {
  const child = fork(FIXTURE, { env: { ...process.env, ...env }, stdio: 'pipe' })
  children.push(child)
  let stderr = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  // Not 'close': it never comes after the parent itself has disconnected.
  const ended = Promise.all([once(child, 'exit'), once(child.stderr!, 'close')])
  const closed = ended.then(([[code, signal]]) => ({
    code: code as number | null,
    signal: signal as string | null,
    stderr,
  }))
  const message = once(child, 'message').then(([value]) => value as unknown)
  return { child, closed, message }
}

describe('runMain', () => {
  it('tells its parent the bound ports and exits with 0 on SIGTERM', async () => {
    const { child, closed, message } = start()
    expect(await message).toEqual({ ready: true, ports: { http: expect.any(Number) } })
    child.kill('SIGTERM')
    expect(await closed).toEqual({ code: 0, signal: null, stderr: '' })
  })

  it('stops when the channel to its parent is lost', async () => {
    const { child, closed, message } = start()
    await message
    child.disconnect()
    expect(await closed).toMatchObject({ code: 0 })
  })

  it('exits with 1 and one sentence when the start fails', async () => {
    const { closed, message } = start({ CASE: 'bad config' })
    expect(await message).toEqual({
      error: { code: 'BZZZ_CONFIG_INVALID', message: 'BZZZ_X: must be set' },
    })
    expect(await closed).toMatchObject({ code: 1, stderr: 'fixture: BZZZ_X: must be set\n' })
  })

  it('names the port that is taken and the remedy', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const { port } = holder.address() as AddressInfo
    const { closed, message } = start({ PORT: String(port) })
    expect(await message).toMatchObject({ error: { code: 'BZZZ_PORT_IN_USE' } })
    const { code, stderr } = await closed
    holder.close()
    expect(code).toBe(1)
    expect(stderr).toBe(
      `fixture: Port ${port} is already in use: ` +
        'stop the program that holds it, or set BZZZ_PORT_OFFSET.\n',
    )
  })

  it('gives up a start that is told to stop, without calling it a failure', async () => {
    const { child, closed, message } = start({ CASE: 'slow start' })
    await message
    child.kill('SIGTERM')
    expect(await closed).toEqual({ code: 0, signal: null, stderr: '' })
  })

  it('exits with 1 when the stop hangs', async () => {
    const { child, closed, message } = start({ CASE: 'hanging stop' })
    await message
    child.kill('SIGTERM')
    expect(await closed).toMatchObject({
      code: 1,
      stderr: 'fixture: The stop took longer than 200 ms.\n',
    })
  })

  it('exits with 1 when the stop fails', async () => {
    const { child, closed, message } = start({ CASE: 'failing stop' })
    await message
    child.kill('SIGTERM')
    const { code, stderr } = await closed
    expect(code).toBe(1)
    expect(stderr).toContain('fixture: The stop failed: Error: the disk is gone')
  })

  it('exits at once on a second signal', async () => {
    const { child, closed, message } = start({ CASE: 'hanging stop' })
    await message
    child.kill('SIGTERM')
    child.kill('SIGINT')
    expect(await closed).toMatchObject({ code: 1, stderr: '' })
  })
})
