/**
 * `npm run bench [-- store] [--json]`: every question whose name contains the argument, each run
 * RUNS times in a fresh process, the median of every row in one table. Exits with 1 when a
 * question fails, 2 when a bar is missed.
 */
import { fork } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { medianRow, type Question, type Row } from './row.ts'

/** Two show whether a figure repeats; more would make the whole table take an hour. */
const RUNS = 2

/** A question that takes longer hangs. */
const RUN_TIMEOUT_MS = 15 * 60_000

/** What stands in bench/ and is no question. */
const NOT_QUESTIONS = ['main.ts', 'row.ts']

interface Result {
  question: string
  rows: Row[]
  runs: Row[][]
}

async function load(file: string): Promise<Question> {
  const question = (await import(new URL(file, import.meta.url).href)) as Partial<Question>
  if (typeof question.name !== 'string' || typeof question.run !== 'function') {
    throw new Error(`bench/${file} exports no name and run(): shared code goes into a subfolder.`)
  }
  return question as Question
}

/** In the child: one question, once, its rows to the parent. */
async function answer(file: string): Promise<void> {
  const question = await load(file)
  const rows = await question.run()
  // A handle the question forgot must not keep the parent waiting.
  process.send?.(rows, () => process.exit(0))
}

/** In the parent: the rows of one run in a process of its own. */
function ask(file: string): Promise<Row[]> {
  const child = fork(fileURLToPath(import.meta.url), ['--one', file], { timeout: RUN_TIMEOUT_MS })
  return new Promise<Row[]>((resolve, reject) => {
    let rows: Row[] | undefined
    child.once('message', (message) => {
      rows = message as Row[]
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      if (rows !== undefined && code === 0) resolve(rows)
      else reject(new Error(`bench/${file} ended with ${signal ?? `code ${code}`}.`))
    })
  })
}

async function measure(file: string): Promise<Result> {
  const runs: Row[][] = []
  for (let run = 1; run <= RUNS; run += 1) {
    process.stderr.write(`${basename(file, '.ts')}: run ${run} of ${RUNS}\n`)
    runs.push(await ask(file))
  }
  const rows = (runs[0] ?? []).map((_, place) => medianRow(runs.map((run) => run[place])))
  return { question: basename(file, '.ts'), rows, runs }
}

function figure(value: number): string {
  const rounded = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
  return rounded.toLocaleString('en', { maximumSignificantDigits: 12 })
}

function table(results: readonly Result[]): string {
  const head = ['question', 'work', 'beside', 'ours', 'peer', 'unit', 'ratio', 'bar', '']
  const lines = results.flatMap(({ question, rows }) =>
    rows.map(({ work, beside, ours, peer, unit, ratio, bar, holds }) => {
      const verdict = bar === '' ? '' : holds ? 'holds' : 'MISSED'
      const ratioText = `${figure(ratio)}x`
      return [question, work, beside, figure(ours), figure(peer), unit, ratioText, bar, verdict]
    }),
  )
  const widths = head.map((_, column) =>
    Math.max(...[head, ...lines].map((cells) => cells[column]?.length ?? 0)),
  )
  const numeric = new Set([3, 4, 6])
  const format = (cells: readonly string[]) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return numeric.has(column) ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return [format(head), ...lines.map(format)].join('\n')
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'boolean' }, one: { type: 'string' } },
    allowPositionals: true,
  })
  if (values.one !== undefined) return answer(values.one)

  const folder = await readdir(new URL('.', import.meta.url))
  const questions = folder.filter((file) => file.endsWith('.ts') && !NOT_QUESTIONS.includes(file))
  const wanted = questions
    .filter((file) => positionals.every((word) => file.includes(word)))
    .toSorted()
  if (wanted.length === 0) throw new Error(`No question matches. There are: ${questions.join(' ')}`)

  const results: Result[] = []
  for (const file of wanted) {
    try {
      results.push(await measure(file))
    } catch (error) {
      console.error(`${file}:`, error)
      process.exitCode = 1
    }
  }
  console.log(values.json === true ? JSON.stringify(results, null, 2) : table(results))
  const missed = results.some(({ rows }) => rows.some((one) => !one.holds))
  if (missed && process.exitCode === undefined) process.exitCode = 2
}

await main()
