import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'

import { describe, expect, it } from 'vitest'

import type { FunctionPlugin } from '../../../shared/function/function.ts'
import { serveFunction } from '../../../shared/function/serve.ts'

const hello: FunctionPlugin = async (app, { name, secretsDirs }) => {
  app.get('/', async () => ({ name, secretsDirs }))
}

async function serve(env: Record<string, string> = {}) {
  const stopping = new AbortController()
  const running = await serveFunction(hello, {
    env: {
      port: '0',
      BZZZ_HOST: '127.0.0.1',
      BZZZ_LOG_LEVEL: 'silent',
      healthcheck_interval: '0',
      ...env,
    },
    signal: stopping.signal,
  })
  return { running, stopping, url: `http://127.0.0.1:${running.ports['http']}` }
}

describe('serve', () => {
  it('runs a function under the name that its platform gives it', async () => {
    const { running, url } = await serve({ OPENFAAS_NAME: 'greeter' })
    expect(await (await fetch(url)).json()).toEqual({
      name: 'greeter',
      secretsDirs: ['/var/openfaas/secrets', '/run/secrets'],
    })
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toContain('bzzz_function_in_flight{function="greeter"} 0')
    await running.stop()
    await expect(fetch(url)).rejects.toThrow()
  })

  it('takes requests while balancers notice that it is not ready any more', async () => {
    const { running, stopping, url } = await serve({ healthcheck_interval: '2s' })
    // In the order of a process that is told to stop.
    stopping.abort()
    const stopped = running.stop()
    expect((await fetch(`${url}/_/ready`)).status).toBe(503)
    expect((await fetch(url)).status).toBe(200)
    await stopped
    await expect(fetch(url)).rejects.toThrow()
  })

  it('names the variable when its port is taken', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const { port } = holder.address() as AddressInfo
    await expect(serve({ port: String(port) })).rejects.toMatchObject({
      code: 'BZZZ_PORT_IN_USE',
      message: expect.stringContaining('or set port.') as unknown,
    })
    holder.close()
  })
})
