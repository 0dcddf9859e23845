import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Pool } from 'undici'

import { createTokenKey } from '../shared/auth/token.ts'
import { startChild } from '../test/helpers/child.ts'
import { median, row, type Row } from './row.ts'

export const name = 'gateway-attack'

const HOSTILE = 1_000
const CALLERS = 4
const CALLS = 4_000
const ROUNDS = 3

const ECHO = join(import.meta.dirname, '..', 'test', 'gateway', 'functions', 'echo')
const STACK = `
provider: {name: openfaas}
functions:
  echo: {lang: node24-ts, handler: ${ECHO}, image: echo, environment: {max_inflight: "1024"}}
`

/** What a thousand hostile connections do to somebody who behaves. */
export async function run(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-attack-'))
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
  const gateway = await startChild<{ ports: { gateway: number } }>(
    new URL('../gateway/main.ts', import.meta.url),
    {
      env: {
        BZZZ_GATEWAY_PORT: '0',
        BZZZ_GATEWAY_METRICS_PORT: '0',
        BZZZ_STACK_FILE: join(dir, 'stack.yml'),
        BZZZ_TOKEN_KEYS_FILE: join(dir, 'token-keys.json'),
        BZZZ_LOG_LEVEL: 'silent',
      },
    },
  )
  const port = gateway.ready.ports.gateway
  const attackers = new URL('./gateway-attack/attackers.ts', import.meta.url)
  const p99: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
  try {
    await call(port)
    for (let round = 0; round < ROUNDS; round += 1) {
      p99.peer.push(await call(port))
      const hostile = await startChild(attackers, { args: [String(port), String(HOSTILE)] })
      p99.ours.push(await call(port))
      await hostile.stop()
    }
  } finally {
    await gateway.stop()
  }
  return row({
    work: `p99 of a caller while ${HOSTILE} hostile connections are open`,
    beside: 'the same caller alone',
    ours: median(p99.ours),
    peer: median(p99.peer),
    unit: 'ms',
    bar: { atMost: 2 },
  })
}

/** The 99th percentile of what calls of `CALLERS` at once take, in milliseconds. */
async function call(port: number): Promise<number> {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: CALLERS })
  const times: number[] = []
  const one = async (): Promise<void> => {
    for (let n = 0; n < CALLS / CALLERS; n += 1) {
      const began = performance.now()
      const { statusCode, body } = await pool.request({ method: 'GET', path: '/function/echo/' })
      await body.dump()
      if (statusCode !== 200) throw new Error(`A caller that behaves got ${statusCode}.`)
      times.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, one))
  await pool.close()
  return times.toSorted((left, right) => left - right)[Math.floor(times.length * 0.99)]!
}
