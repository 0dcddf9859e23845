/**
 * One line of the bench table: ours beside a peer, measured in the same run on the same machine.
 *
 * A question is a module `bench/<question>.ts` that exports `name` and `run(): Promise<Row[]>`.
 * `bench/main.ts` runs each question several times, each time in a process of its own, and gives
 * the median of every row. So a question measures once per call, returns its rows in a fixed order
 * and leaves no file, socket or child behind. Code that several questions share lives in a folder
 * below bench/, never beside them.
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

export interface Question {
  name: string
  run(): Promise<Row[]>
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
  const { work, beside, ours, peer, unit } = init
  const bar = init.bar === undefined ? '' : barText(init.bar)
  const ratio = ours / peer
  return { work, beside, ours, peer, unit, ratio, bar, holds: holdsBar(ratio, bar) }
}

function barText(bar: Bar): string {
  return 'atLeast' in bar ? `>= ${bar.atLeast}x` : `<= ${bar.atMost}x`
}

function holdsBar(ratio: number, bar: string): boolean {
  if (bar === '') return true
  const [, relation, limit] = /^(>=|<=) ([\d.]+)x$/.exec(bar) ?? []
  if (limit === undefined) throw new Error(`A bar reads ">= 3x" or "<= 1.5x", not "${bar}".`)
  return relation === '>=' ? ratio >= Number(limit) : ratio <= Number(limit)
}

/** The median of the same row over several runs, held against the same bar. */
export function medianRow(runs: readonly (Row | undefined)[]): Row {
  const [first] = runs
  if (first === undefined) throw new Error('A median needs at least one run.')
  const rows = runs.flatMap((one) =>
    one?.work === first.work && one.beside === first.beside ? [one] : [],
  )
  if (rows.length < runs.length) throw new Error(`Not every run has the row "${first.work}" there.`)
  const ours = median(rows.map((one) => one.ours))
  const peer = median(rows.map((one) => one.peer))
  const ratio = ours / peer
  return { ...first, ours, peer, ratio, holds: holdsBar(ratio, first.bar) }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)]
  const lower = sorted[Math.ceil(middle) - 1]
  if (upper === undefined || lower === undefined) throw new Error('There is no median of nothing.')
  return (upper + lower) / 2
}
