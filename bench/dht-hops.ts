import { simulate } from './dht-hops/simulation.ts'
import { row, type Row } from './row.ts'

export const name = 'dht-hops'

const SIZES = [10, 100, 1_000, 10_000]
const LOOKUPS = 20

/** Steps of a lookup beside the logarithm of the number of nodes, without sockets. */
export async function run(): Promise<Row[]> {
  const rows: Row[] = []
  for (const size of SIZES) {
    const { hops, asked, found } = await simulate(size, LOOKUPS)
    if (found < 1) throw new Error(`Of ${LOOKUPS} lookups only ${found * LOOKUPS} found the node.`)
    rows.push(
      row({
        work: `lookup among ${size} nodes (${asked.toFixed(0)} asked)`,
        beside: 'log2 of the nodes',
        ours: hops,
        peer: Math.log2(size),
        unit: 'hops',
        bar: { atMost: 1 },
      }),
    )
  }
  return rows
}
