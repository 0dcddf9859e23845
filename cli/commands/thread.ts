import { text as readText } from 'node:stream/consumers'
import { readFile } from 'node:fs/promises'

import { InvalidArgumentError, type Command } from 'commander'

import { InvalidMessageError, InvalidRequestError } from '../../shared/errors.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { EXPORT_FORMATS, type ExportFormat } from '../../shared/thread/export.ts'
import { MESSAGE_ROLES, type MessageRole } from '../../shared/thread/message.ts'
import type { NewMessage } from '../../shared/thread/new-message.ts'
import { findThreads, type ThreadClient } from '../client/thread-client.ts'
import type { CommandHost } from '../host.ts'
import { createStepsBar } from '../output/steps-bar.ts'
import {
  conversation,
  describeReport,
  describeThread,
  foundTable,
  threadTable,
} from '../output/thread-text.ts'
import { integer } from './integer.ts'

interface Options {
  json?: boolean
  data?: string
  title?: string
  key?: string
  role: MessageRole
  file?: string
  ref?: string[]
  create?: boolean
  at?: string
  after?: string
  limit: number
  reverse?: boolean
  thread?: string
  in?: string
  format: ExportFormat
}

type Run = (client: ThreadClient, options: Options, ...args: string[]) => Promise<void>

/** `bzzz thread create|append|read|ls|search|fork|verify|export`. */
export function threadCommand(program: Command, host: CommandHost): void {
  const thread = program.command('thread').description('conversations that stay')
  const add = (name: string, description: string, args: readonly string[], run: Run): Command => {
    const command = thread
      .command(name)
      .description(description)
      .option('--json', 'print JSON')
      .option('--data <dir>', 'data folder of a local cluster')
    for (const arg of args) command.argument(arg)
    // What commander gives: the arguments, the options, the command.
    return command.action(async (...given: unknown[]) => {
      const options = given[args.length] as Options
      const texts = given.slice(0, args.length) as string[]
      await run(await findThreads(host, options), options, ...texts)
    })
  }
  addWriting(add, host)
  addReading(add, host)
  addWhole(add, host)
}

type Add = (name: string, description: string, args: readonly string[], run: Run) => Command

function addWriting(add: Add, host: CommandHost): void {
  add('create', 'begin a thread', ['<address>'], async (client, options, address) => {
    const { title, key } = options
    const made = await client.create({ address: address!, ...given({ title, key }) })
    tell(host, options, made, describeThread(made))
  })
    .option('--title <text>', 'what it is about')
    .option('--key <key>', 'the same key again is the same creation')
  add(
    'append',
    'say something',
    ['<address>', '[text]'],
    async (client, options, address, text) => {
      const message = await messageOf(host, options, text)
      const done = await client.append(address!, [message], options.create === true)
      const [said] = done.messages
      const how = said?.existed ? 'was there already' : `version ${done.thread.version}`
      tell(host, options, done, `#${said?.seq}  ${said?.hash}  ${how}\n`)
    },
  )
    .option('--role <role>', MESSAGE_ROLES.join(', '), oneOf(MESSAGE_ROLES), 'user')
    .option('--file <file>', 'take the text from a file; - or nothing is stdin')
    .option('--ref <address...>', 'what it speaks of')
    .option('--key <key>', 'the same key again is the same message')
    .option('--create', 'begin the thread where there is none')
  add('fork', 'begin a thread with what another one has', ['<from>', '<to>'], forking(host))
    .option('--at <hash>', 'the last message that both have; default: the last there is')
    .option('--title <text>', 'what it is about')
    .option('--key <key>', 'the same key again is the same fork')
}

function forking(host: CommandHost): Run {
  return async (client, options, from, to) => {
    const { at, title, key } = options
    const made = await client.fork(from!, { to: to!, ...given({ at, title, key }) })
    tell(host, options, made, describeThread(made))
  }
}

function addReading(add: Add, host: CommandHost): void {
  paged(
    add('read', 'show messages in their order', ['<address>'], async (client, options, address) => {
      const { after, limit, reverse } = options
      const order = reverse ? 'desc' : 'asc'
      const found = await client.read({ address, after, limit, order })
      tell(host, options, found, conversation(found.messages) + more(found.next))
    }),
    'messages',
  ).option('--reverse', 'the newest first')
  paged(
    add(
      'ls',
      'list threads, the last written to first',
      ['[search]'],
      async (client, options, pattern) => {
        const { after, limit } = options
        const found = await client.list({ pattern, after, limit })
        tell(host, options, found, threadTable(found.threads) + more(found.next))
      },
    ),
    'threads',
  )
  paged(
    add('search', 'find messages by their words', ['<words>'], async (client, options, q) => {
      const { after, limit, thread: address, in: pattern } = options
      const found = await client.search({ q, address, pattern, after, limit })
      tell(host, options, found, foundTable(found.messages) + more(found.next))
    }),
    'messages',
  )
    .option('--thread <address>', 'in this thread alone')
    .option('--in <search>', 'in threads such as bzzz://*@apollo/**')
}

function addWhole(add: Add, host: CommandHost): void {
  add(
    'verify',
    'walk a thread, and say whether it is whole',
    ['<address>'],
    async (client, options, address) => {
      const bar = createStepsBar(host.stderr, address!)
      const onProgress = (percent: number): void => bar.update(percent, 100)
      const report = await client.verify(address!, onProgress).finally(() => bar.stop())
      tell(host, options, report, describeReport(report))
      if (!report.whole) throw new InvalidMessageError(`${address} is not as it was written.`)
    },
  )
  add('export', 'print a thread as one text', ['<address>'], async (client, options, address) => {
    const format = options.json ? 'json' : options.format
    const { body } = await client.export({ address, format })
    for await (const chunk of body) host.stdout.write(chunk as Buffer)
  }).option('--format <format>', EXPORT_FORMATS.join(' or '), oneOf(EXPORT_FORMATS), 'markdown')
}

function paged(command: Command, what: string): Command {
  return command
    .option('--after <cursor>', 'go on where the list before ended')
    .option(
      '--limit <n>',
      `${what} to show at most`,
      (text) => integer(text, 1, PAGE_SIZE_MAX),
      PAGE_SIZE_DEFAULT,
    )
}

async function messageOf(
  host: CommandHost,
  { role, file, ref, key }: Options,
  text: string | undefined,
): Promise<NewMessage> {
  if (text !== undefined && file !== undefined) {
    throw new InvalidRequestError('Give the text or a file, not both.')
  }
  const content = text ?? (await read(host, file ?? '-'))
  return { role, content, ...given({ key }), ...(ref && { refs: ref }) }
}

async function read({ stdin }: CommandHost, file: string): Promise<string> {
  if (file === '-') return readText(stdin)
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new InvalidRequestError(`${file} cannot be read.`, { cause: error })
  }
}

function oneOf<T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text)
    if (found === undefined) throw new InvalidArgumentError(`It is one of ${choices.join(', ')}.`)
    return found
  }
}

/** Without those that were not given. */
function given<T extends Record<string, string | undefined>>(fields: T) {
  const there = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(there) as { [K in keyof T]?: string }
}

function more(next: string | null): string {
  return next === null ? '' : `More with --after ${next}\n`
}

function tell({ stdout }: CommandHost, { json }: Options, value: object, text: string): void {
  stdout.write(json ? `${JSON.stringify(value)}\n` : text)
}
