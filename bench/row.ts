/**
 * One line of the bench table: ours beside a peer, measured in the same run on the same machine.
 *
 * A question is a module `bench/<question>.ts` that exports `name` and `run(): Promise<Row[]>`.
 * `bench/main.ts` runs each question several times and reports the median of every row, so a
 * question measures once per call and leaves nothing behind.
 */
export interface Row {
  /** What is done, with its size and concurrency: "durable put, 1 KiB, 16 writers". */
  work: string
  /** The peer it is measured beside: "lmdb, flushed". */
  beside: string
  ours: number
  peer: number
  /** Unit of `ours` and `peer`: "puts/s", "MiB/s", "ms". */
  unit: string
  /** ours / peer. Rates want it high, times want it low; `bar` says which. */
  ratio: number
  /** The bar as it is read by people: ">= 3x" or "<= 1.5x". Empty when nothing was promised. */
  bar: string
  /** Whether the ratio holds the bar. True when there is no bar. */
  holds: boolean
}

/** A bar on the ratio: at least (rates) or at most (times). */
export type Bar = { atLeast: number } | { atMost: number }

/** The one place where a ratio is formed and held against its bar. */
export function row(init: {
  work: string
  beside: string
  ours: number
  peer: number
  unit: string
  bar?: Bar
}): Row {
  const { work, beside, ours, peer, unit, bar } = init
  const ratio = ours / peer
  if (bar === undefined) return { work, beside, ours, peer, unit, ratio, bar: '', holds: true }
  const atLeast = 'atLeast' in bar
  const holds = atLeast ? ratio >= bar.atLeast : ratio <= bar.atMost
  const text = atLeast ? `>= ${bar.atLeast}x` : `<= ${bar.atMost}x`
  return { work, beside, ours, peer, unit, ratio, bar: text, holds }
}
