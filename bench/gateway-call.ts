import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createTokenKey } from '../shared/auth/token.ts'
import { startChild } from '../test/helpers/child.ts'
import { CONNECTIONS, rate } from './http/rate.ts'
import { median, row, type Row } from './row.ts'

export const name = 'gateway-call'

const ROUNDS = 6

/** What the gateway adds to a function that runs in it: routing, headers, limits, metrics twice. */
export async function run(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-gateway-'))
  try {
    const { publicKeys } = await createTokenKey()
    await writeFile(join(dir, 'token-keys.json'), JSON.stringify(publicKeys))
    await writeFile(join(dir, 'stack.yml'), stackFile())
    return [await measure(dir)]
  } finally {
    await rm(dir, { recursive: true })
  }
}

async function measure(dir: string): Promise<Row> {
  const ours = await startChild<{ ports: { gateway: number } }>(
    new URL('../gateway/main.ts', import.meta.url),
    {
      env: {
        BZZZ_GATEWAY_PORT: '0',
        BZZZ_GATEWAY_METRICS_PORT: '0',
        BZZZ_STACK_FILE: join(dir, 'stack.yml'),
        BZZZ_TOKEN_KEYS_FILE: join(dir, 'token-keys.json'),
        BZZZ_LOG_LEVEL: 'error',
      },
    },
  )
  const peer = await startChild<{ port: number }>(
    new URL('./resolve/constant-server.ts', import.meta.url),
  )
  const rates: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      rates.ours.push(
        await rate(`http://127.0.0.1:${ours.ready.ports.gateway}/function/constant/x`),
      )
      rates.peer.push(await rate(`http://127.0.0.1:${peer.ready.port}/x`))
    }
  } finally {
    await Promise.all([ours.stop(), peer.stop()])
  }
  return row({
    work: `call a function in the gateway, constant answer, ${CONNECTIONS} clients`,
    beside: 'Fastify answering the same constant',
    ours: median(rates.ours),
    peer: median(rates.peer),
    unit: 'requests/s',
    bar: { atLeast: 0.6 },
  })
}

function stackFile(): string {
  return `
provider: {name: openfaas}
functions:
  constant:
    lang: node24-ts
    handler: ${join(import.meta.dirname, 'gateway-call', 'functions', 'constant')}
    image: constant
`
}
