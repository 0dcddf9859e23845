import { once } from 'node:events'

import { startChild, type Child } from '../test/helpers/child.ts'
import { median, row, type Row } from './row.ts'
import type { Order } from './transfer/client.ts'
import type { ContenderName } from './transfer/contenders.ts'
import { BIG_BYTES, SMALL_BYTES, SMALL_COUNT } from './transfer/payload.ts'
import type { Offer } from './transfer/server.ts'

export const name = 'transfer'

const ROUNDS = 7

/** Fetches before the clock counts: code is compiled, windows are open. */
const WARM_UPS = 2

const NAMES: readonly ContenderName[] = ['bulk', 'tls', 'tlsInPlace', 'libp2p']

/** The two processes of a contender. */
interface Pair {
  server: Child<Offer>
  client: Child<string>
}

/**
 * Node to node: two processes on one machine for each contender, the sender's bytes in memory,
 * every blob hashed with BLAKE3 where it arrives. One connection each, opened before the clock
 * runs. The contenders take turns, so that a slow moment of the machine meets all of them.
 */
export async function run(): Promise<Row[]> {
  const pairs = new Map<ContenderName, Pair>()
  try {
    for (const contender of NAMES) pairs.set(contender, await startPair(contender))
    const big = await measure(pairs, 'big', BIG_BYTES)
    const small = await measure(pairs, 'small', SMALL_COUNT * SMALL_BYTES)
    const count = `${SMALL_COUNT.toLocaleString('en')} x ${SMALL_BYTES / 1024} KiB`
    return [
      ...rows(`node to node, ${BIG_BYTES / 2 ** 20} MiB, hashed on arrival`, big),
      ...rows(`node to node, ${count}, hashed on arrival`, small),
    ]
  } finally {
    const children = [...pairs.values()].flatMap(({ server, client }) => [client, server])
    await Promise.all(children.map((child) => child.stop()))
  }
}

async function startPair(contender: ContenderName): Promise<Pair> {
  const start = <T>(module: string): Promise<Child<T>> =>
    startChild<T>(new URL(`./transfer/${module}.ts`, import.meta.url), { args: [contender] })
  const server = await start<Offer>('server')
  const client = await start<string>('client')
  await order(client, { offer: server.ready })
  return { server, client }
}

async function order(client: Child<string>, what: Order): Promise<number> {
  client.process.send(what)
  const [answer] = (await once(client.process, 'message')) as [{ seconds?: number; error?: string }]
  if (answer.seconds === undefined) throw new Error(answer.error)
  return answer.seconds
}

type Rates = Record<ContenderName, number>

async function measure(
  pairs: ReadonlyMap<ContenderName, Pair>,
  fetch: 'big' | 'small',
  bytes: number,
): Promise<Rates> {
  const rates = new Map<ContenderName, number[]>(NAMES.map((contender) => [contender, []]))
  for (let round = -WARM_UPS; round < ROUNDS; round += 1) {
    for (const [contender, { client }] of pairs) {
      const seconds = await order(client, { fetch })
      if (round >= 0) rates.get(contender)?.push(bytes / 1e6 / seconds)
    }
  }
  return Object.fromEntries([...rates].map(([contender, all]) => [contender, median(all)])) as Rates
}

function rows(work: string, { bulk, tls, tlsInPlace, libp2p }: Rates): Row[] {
  const unit = 'MB/s'
  return [
    row({
      work,
      beside: 'plain Node TLS 1.3, mutual, pipelined',
      ours: bulk,
      peer: tls,
      unit,
      bar: { atLeast: 0.8 },
    }),
    row({
      work,
      beside: 'the same, hashed in a buffer that is overwritten, so that nothing arrives to keep',
      ours: bulk,
      peer: tlsInPlace,
      unit,
    }),
    row({
      work,
      beside: 'a libp2p stream, TLS, yamux, 4 MiB window, 1 MiB ranges pipelined',
      ours: bulk,
      peer: libp2p,
      unit,
      bar: { atLeast: 1.7 },
    }),
  ]
}
