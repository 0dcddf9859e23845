import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { createTokenKey } from '../../shared/auth/token.ts'
import { findPortOffset } from '../helpers/cluster.ts'

const ROOT = join(import.meta.dirname, '..', '..')

let folder: string
const children: ChildProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-gateway-main-'))
  const { publicKeys } = await createTokenKey()
  await writeFile(join(folder, 'token-keys.json'), JSON.stringify(publicKeys))
  await cp(join(ROOT, 'stack.yml'), join(folder, 'stack.yml'))
})

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

afterAll(() => rm(folder, { recursive: true }))

/** The gateway as `bzzz up` starts it, with the functions of the repository. */
function start(env: Record<string, string> = {}) {
  const child = fork(join(ROOT, 'gateway', 'main.ts'), {
    cwd: folder,
    env: {
      BZZZ_GATEWAY_PORT: '0',
      BZZZ_GATEWAY_METRICS_PORT: '0',
      BZZZ_STACK_FILE: join(ROOT, 'stack.yml'),
      BZZZ_TOKEN_KEYS_FILE: join(folder, 'token-keys.json'),
      BZZZ_LOG_LEVEL: 'silent',
      ...env,
    },
    stdio: 'pipe',
  })
  children.push(child)
  let stderr = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = Promise.all([once(child, 'exit'), once(child.stderr!, 'close')])
  const exited = ended.then(([[code]]) => ({ code: code as number | null, stderr }))
  const message = once(child, 'message').then(([value]) => value as Record<string, unknown>)
  return { child, exited, message }
}

describe('gateway process', () => {
  it.each(['SIGTERM', 'SIGINT', 'disconnect'] as const)(
    'tells its ports, serves, and exits with 0 on %s',
    async (cause) => {
      const { child, exited, message } = start({
        BZZZ_PORT_OFFSET: String(await findPortOffset(1)),
      })
      const { ready, ports } = (await message) as { ready: true; ports: Record<string, number> }
      expect(ready).toBe(true)
      expect(Object.keys(ports).toSorted()).toEqual([
        'gateway',
        'llm-proxy',
        'mcp',
        'metrics',
        'resolve',
      ])
      // Both ways lead to the function, which lets nobody in without a token.
      const paths = [
        `${ports['gateway']}/function/resolve/me@demo/x`,
        `${ports['resolve']}/me@demo/x`,
      ]
      for (const path of paths) {
        const answer = await fetch(`http://127.0.0.1:${path}`)
        expect(answer.status, path).toBe(401)
        expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_TOKEN_MISSING' } })
      }
      if (cause === 'disconnect') child.disconnect()
      else child.kill(cause)
      expect(await exited).toEqual({ code: 0, stderr: '' })
    },
  )

  it('exits with 1 and one sentence when its port is taken', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const { port } = holder.address() as AddressInfo
    const { exited, message } = start({
      BZZZ_GATEWAY_PORT: String(port),
      BZZZ_PORT_OFFSET: String(await findPortOffset(1)),
    })
    const sentence = `Port ${port} is already in use: stop the program that holds it, or set BZZZ_GATEWAY_PORT.`
    expect(await message).toEqual({ error: { code: 'BZZZ_PORT_IN_USE', message: sentence } })
    expect(await exited).toEqual({ code: 1, stderr: `gateway: ${sentence}\n` })
    holder.close()
  })

  it('exits with 1 when a function has no handler, and names the file', async () => {
    const { exited, message } = start({ BZZZ_STACK_FILE: join(folder, 'stack.yml') })
    expect(await message).toMatchObject({ error: { code: 'BZZZ_CONFIG_INVALID' } })
    expect((await exited).stderr).toContain(join(folder, 'functions', 'resolve', 'handler.ts'))
  })
})
