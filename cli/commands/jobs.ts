import { setTimeout as sleep } from 'node:timers/promises'

import cliProgress from 'cli-progress'
import type { Command } from 'commander'

import { JobStateError } from '../../shared/errors.ts'
import { PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { AnswerJSON, JobJSON } from '../../shared/queue/job-json.ts'
import { findJobs, type JobClient } from '../client/job-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes } from '../output/format.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { integer } from './integer.ts'

interface Options {
  json?: boolean
  data?: string
  state?: string
  topic?: string
  cursor?: string
  limit?: number
}

/** How often a job that runs is asked how far it is; a person sees no difference below. */
const POLL_MS = 250

/** Pages of a list on a terminal. */
const LIMIT_DEFAULT = 50

/** `bzzz jobs ls|show|retry|cancel|watch`: calls that are made later. */
export function jobsCommand(program: Command, host: CommandHost): void {
  const jobs = program.command('jobs').description('asynchronous calls and what became of them')
  const add = (name: string, description: string): Command =>
    jobs
      .command(name)
      .description(description)
      .option('--json', 'print JSON')
      .option('--data <dir>', 'data folder of a local cluster')
  add('ls', 'list jobs: those that run, then those that wait, then those that ended')
    .option('--state <state>', 'waiting, active, delayed, completed or failed')
    .option('--topic <topic>', 'only of this topic; calls for calls of a function')
    .option('--limit <n>', 'how many', (text) => integer(text, 1, PAGE_SIZE_MAX))
    .option('--cursor <cursor>', 'go on where the list before ended')
    .action((options: Options) => list(host, options))
  add('show', 'show one job with its result')
    .argument('<id>')
    .action(async (id: string, options: Options) => {
      const client = await findJobs(host, options)
      show(host, await client.get(id), options)
    })
  add('retry', 'run a failed job again')
    .argument('<id>')
    .action(async (id: string, options: Options) => {
      const client = await findJobs(host, options)
      const job = await client.retry(id)
      tell(host, options, job, `${id} is ${job.state} again.`)
    })
  add('cancel', 'end a job that runs, remove one that does not')
    .argument('<id>')
    .action(async (id: string, options: Options) => {
      const client = await findJobs(host, options)
      const answer = await client.cancel(id)
      const what = answer.outcome === 'removed' ? 'removed' : 'told to end'
      tell(host, options, answer, `${id} is ${what}.`)
    })
  add('watch', 'follow a job until it has ended')
    .argument('<id>')
    .action(async (id: string, options: Options) => {
      const client = await findJobs(host, options)
      const job = await follow(host, client, id)
      show(host, job, options)
      if (job.state === 'failed') throw new JobStateError(`${id} failed: ${job.reason}`)
    })
}

async function list(host: CommandHost, options: Options): Promise<void> {
  const { state, topic, cursor, limit = LIMIT_DEFAULT } = options
  const client = await findJobs(host, options)
  const page = await client.list({ state, topic, cursor, limit: String(limit) })
  if (options.json) {
    host.stdout.write(`${JSON.stringify(page)}\n`)
    return
  }
  if (page.jobs.length === 0) {
    host.stdout.write('There are no such jobs.\n')
    return
  }
  const rows = page.jobs.map((job) => [
    job.id,
    job.topic,
    job.function ?? '*',
    job.cancelled && job.state === 'active' ? 'cancelling' : job.state,
    job.progress && job.state === 'active' ? `${Math.floor(job.progress.percent)} %` : '',
    `${job.attempts}/${job.attemptsMax}`,
    job.createdAt,
    oneLine(job.reason ?? ''),
  ])
  const head = ['id', 'topic', 'function', 'state', 'done', 'attempts', 'created', 'reason']
  host.stdout.write(formatTable(head, rows))
  if (page.next !== null) host.stderr.write(`There are more: --cursor ${page.next}\n`)
}

function tell(host: CommandHost, { json }: Options, answer: object, sentence: string): void {
  host.stdout.write(json ? `${JSON.stringify(answer)}\n` : `${sentence}\n`)
}

function show(host: CommandHost, job: JobJSON, { json }: Options): void {
  if (json) {
    host.stdout.write(`${JSON.stringify(job)}\n`)
    return
  }
  const rows: [string, string | null][] = [
    ['id', job.id],
    ['topic', job.topic],
    ['function', job.function ?? 'every one of the topic'],
    ['state', job.state],
    ['progress', job.progress && `${job.progress.percent} %  ${job.progress.message ?? ''}`],
    ['attempts', `${job.attempts} of ${job.attemptsMax}`],
    ['owner', job.owner],
    ['created', job.createdAt],
    ['due', job.dueAt],
    ['started', job.startedAt],
    ['finished', job.finishedAt],
    ['callback', job.callbackUrl],
    ['reason', job.reason && oneLine(job.reason)],
    ...job.results.map((one): [string, string] => ['result', describeAnswer(one)]),
  ]
  const known = rows.filter((row): row is [string, string] => row[1] !== null)
  host.stdout.write(formatPairs(known.map(([name, value]) => [name, value.trimEnd()])))
  for (const { body } of job.results) if (body !== undefined) host.stdout.write(`\n${body}\n`)
}

function describeAnswer({ function: name, status, contentType, size, blob }: AnswerJSON): string {
  const where = blob === undefined ? '' : `, blob ${blob}`
  return `${name} ${status} ${contentType}, ${formatBytes(size)}${where}`
}

/** With a bar on a terminal. Interrupting the command leaves the job running. */
async function follow(host: CommandHost, client: JobClient, id: string): Promise<JobJSON> {
  const bar = host.stderr.isTTY === true ? createBar(host) : null
  try {
    for (;;) {
      const job = await client.get(id)
      const { percent = 0, message = '' } = job.progress ?? {}
      bar?.update(percent, { state: job.state, message: oneLine(message) })
      if (job.state === 'completed' || job.state === 'failed') return job
      await sleep(POLL_MS, undefined, { signal: host.signal })
    }
  } finally {
    bar?.stop()
  }
}

function createBar(host: CommandHost): cliProgress.SingleBar {
  const bar = new cliProgress.SingleBar({
    stream: host.stderr as NodeJS.WriteStream,
    clearOnComplete: true,
    hideCursor: true,
    format: '{state}  {bar}  {percentage} %  {message}',
  })
  bar.start(100, 0, { state: 'waiting', message: '' })
  return bar
}

/** What functions say may hold anything; a terminal must not obey it. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ')
}
