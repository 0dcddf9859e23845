import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, describe, expect, it } from 'vitest'

import { FunctionLogs } from '../../../gateway/logs/function-logs.ts'
import {
  InProcessProvider,
  type InProcessProviderInit,
} from '../../../gateway/providers/in-process.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { functionProviderSuite } from '../../suites/function-provider.ts'
import { ECHO } from '../stack.ts'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

function create(init: Partial<InProcessProviderInit> = {}): InProcessProvider {
  const log = createSilentLogger()
  const provider = new InProcessProvider(
    { log, logs: new FunctionLogs({ log }) },
    {
      functions: [ECHO],
      env: {},
      secretsDirs: [],
      host: '127.0.0.1',
      portOffset: 0,
      drainTimeoutMs: 2000,
      ...init,
    },
  )
  closing.push(() => provider.stop())
  return provider
}

async function folderWith(handler: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bzzz-handler-'))
  closing.push(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'handler.ts'), handler)
  return folder
}

describe('in-process-provider', () => {
  functionProviderSuite(async () => {
    const provider = create()
    const metrics = async () => (await provider.metrics()).flat()
    return { provider, metrics, drain: () => undefined }
  })

  it('serves a function at the root of its own port as well', async () => {
    const provider = create()
    await provider.start()
    const port = provider.ports()['echo']!
    expect(await (await fetch(`http://127.0.0.1:${port}/seen/here`)).json()).toMatchObject({
      url: '/seen/here',
    })
    expect((await fetch(`http://127.0.0.1:${port}/_/ready`)).status).toBe(200)
  })

  it('opens no port for a function that asks for none', async () => {
    const provider = create({ functions: [{ ...ECHO, port: null }] })
    await provider.start()
    expect(provider.ports()).toEqual({})
  })

  it('adds the offset to the port of the stack file, and names one that is taken', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    closing.push(async () => holder.close())
    const { port } = holder.address() as AddressInfo
    const provider = create({ functions: [{ ...ECHO, port: port - 7 }], portOffset: 7 })
    await expect(provider.start()).rejects.toMatchObject({
      code: 'BZZZ_PORT_IN_USE',
      message: expect.stringMatching(`^Port ${port} .* set BZZZ_PORT_OFFSET\\.$`) as unknown,
    })
    expect(provider.list()).toEqual([])
  })

  it('gives a function its environment over the inherited one', async () => {
    const provider = create({
      env: { GREETING: 'bye', SHARED: 'yes', KEY_FILE: '/inherited', DATABASE_URL: 'postgres:' },
      functions: [
        { ...ECHO, environment: { GREETING: 'hello', KEY: 'own', DATABASE_URL_FILE: '/own' } },
      ],
    })
    await provider.start()
    const port = provider.ports()['echo']!
    const valueOf = async (name: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}/env/${name}`)
      return ((await answer.json()) as { value: string | null }).value
    }
    expect(await valueOf('GREETING')).toBe('hello')
    expect(await valueOf('SHARED')).toBe('yes')
    expect(await valueOf('OPENFAAS_NAME')).toBe('echo')
    // A value and a file for it exclude each other, so the inherited half gives way.
    expect(await valueOf('KEY')).toBe('own')
    expect(await valueOf('KEY_FILE')).toBeNull()
    expect(await valueOf('DATABASE_URL_FILE')).toBe('/own')
    expect(await valueOf('DATABASE_URL')).toBeNull()
  })

  it('refuses a handler that is not there, or is none, or is for something else', async () => {
    const refusal = async (init: Partial<typeof ECHO>) => {
      const failed = create({ functions: [{ ...ECHO, ...init }] }).start()
      await expect(failed).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
      return failed.catch((error: Error) => error.message)
    }
    expect(await refusal({ handler: '/nowhere' })).toContain('echo is missing: /nowhere/handler.ts')
    expect(await refusal({ handler: await folderWith('export const x = 1') })).toContain(
      'does not export a Fastify plugin',
    )
    expect(await refusal({ lang: 'python3-http' })).toContain('is written for python3-http')
  })

  it('stops the functions already started when a later one fails', async () => {
    const broken = await folderWith('export default async () => { throw new Error("no luck") }')
    const provider = create({ functions: [ECHO, { ...ECHO, name: 'broken', handler: broken }] })
    await expect(provider.start()).rejects.toThrow('no luck')
    expect(provider.list()).toEqual([])
    expect(provider.ports()).toEqual({})
  })
})
