import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createTokenKey } from '../shared/auth/token.ts'
import { startChild } from '../test/helpers/child.ts'
import { CONNECTIONS, rate } from './http/rate.ts'
import { median, row, type Row } from './row.ts'

export const name = 'gateway-upstream'

const ROUNDS = 6

/** What the gateway costs where a platform runs the functions: one more process, two more hops. */
export async function run(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-upstream-'))
  try {
    const { publicKeys } = await createTokenKey()
    await writeFile(join(dir, 'token-keys.json'), JSON.stringify(publicKeys))
    await writeFile(join(dir, 'stack.yml'), STACK)
    return [await measure(dir)]
  } finally {
    await rm(dir, { recursive: true })
  }
}

async function measure(dir: string): Promise<Row> {
  const quiet = { BZZZ_LOG_LEVEL: 'error', BZZZ_HOST: '127.0.0.1' }
  const upstream = await startChild<{ ports: { http: number } }>(
    new URL('./gateway-call/function-server.ts', import.meta.url),
    { env: { ...quiet, port: '0', healthcheck_interval: '0' } },
  )
  const ours = await startChild<{ ports: { gateway: number } }>(
    new URL('../gateway/main.ts', import.meta.url),
    {
      env: {
        ...quiet,
        BZZZ_GATEWAY_PORT: '0',
        BZZZ_GATEWAY_METRICS_PORT: '0',
        BZZZ_FUNCTION_URL: `http://127.0.0.1:${upstream.ready.ports.http}`,
        BZZZ_STACK_FILE: join(dir, 'stack.yml'),
        BZZZ_TOKEN_KEYS_FILE: join(dir, 'token-keys.json'),
      },
    },
  )
  const peer = await startChild<{ port: number }>(
    new URL('./resolve/constant-server.ts', import.meta.url),
  )
  const rates: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const { gateway } = ours.ready.ports
      rates.ours.push(await rate(`http://127.0.0.1:${gateway}/function/constant/x`))
      rates.peer.push(await rate(`http://127.0.0.1:${peer.ready.port}/x`))
    }
  } finally {
    await Promise.all([ours.stop(), peer.stop()])
    await upstream.stop()
  }
  return row({
    work: `call a function of a platform through the gateway, ${CONNECTIONS} clients`,
    beside: 'Fastify answering the same constant directly',
    ours: median(rates.ours),
    peer: median(rates.peer),
    unit: 'requests/s',
    bar: { atLeast: 0.45 },
  })
}

const STACK = `
provider: {name: openfaas}
functions:
  constant: {lang: node24-ts, handler: ./constant, image: constant}
`
