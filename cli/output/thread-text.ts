import { isText } from '../../shared/thread/searched-text.ts'
import type { ReadMessage } from '../../shared/thread/thread-query.ts'
import type { VerifyReport } from '../../shared/thread/verify.ts'
import type { ThreadJSON } from '../client/thread-client.ts'
import { formatBytes } from './format.ts'
import { formatPairs, formatTable } from './table.ts'

/** Of a message in a table: about a line of a terminal. */
const EXCERPT_CHARS = 60

export function threadTable(threads: readonly ThreadJSON[]): string {
  if (threads.length === 0) return 'There are no such threads.\n'
  const rows = threads.map(({ address, title, messages, updatedAt, createdBy }) => [
    address,
    String(messages),
    createdBy,
    updatedAt,
    title ?? '-',
  ])
  return formatTable(['address', 'messages', 'begun by', 'last change', 'title'], rows)
}

export function describeThread(thread: ThreadJSON): string {
  const { address, title, createdBy, createdAt, version, messages, seq, from } = thread
  return formatPairs([
    ['address', address],
    ['title', title ?? '-'],
    ['begun', `${createdAt} by ${createdBy}`],
    ['messages', String(messages)],
    ['last seq', String(seq)],
    ['version', String(version)],
    ...(from ? [['from', `${from.thread}, after message ${from.seq}`] as const] : []),
  ])
}

/** Messages as one reads them, one below the other. */
export function conversation(messages: readonly ReadMessage[]): string {
  return messages
    .map((message) => {
      const { seq, role, author, createdAt, refs } = message
      const links = refs.map((ref) => `  -> ${printable(ref)}\n`).join('')
      return `#${seq} ${role} ${printable(author)}  ${createdAt}\n${body(message)}\n${links}\n`
    })
    .join('')
}

export function foundTable(messages: readonly ReadMessage[]): string {
  if (messages.length === 0) return 'Nothing was found.\n'
  const rows = messages.map((message) => [
    message.thread,
    String(message.seq),
    message.role,
    printable(message.author),
    excerpt(body(message)),
  ])
  return formatTable(['thread', 'seq', 'role', 'author', 'text'], rows)
}

export function describeReport(report: VerifyReport): string {
  const { address, whole, versions, messages, contents, from, problems } = report
  const counts = `${messages} messages, ${contents} contents, ${versions} versions`
  const origin = from ? `It was forked from ${from.thread}: verify that, too.\n` : ''
  if (whole) return `${address} is whole: ${counts}.\n${origin}`
  const rows = problems.map(({ what, hash, version, reason }) => [
    what,
    String(version),
    hash.slice(0, 12),
    printable(reason),
  ])
  const table = formatTable(['what', 'version', 'hash', 'problem'], rows)
  return `${address} is not whole: ${counts}.\n${table}${origin}`
}

function body(message: ReadMessage): string {
  const { content, contentHash, contentBytes = 0, mediaType } = message
  if (content !== undefined) return printable(content)
  const kind = isText(message) ? 'text' : (mediaType ?? 'content')
  return `[${kind} of ${formatBytes(contentBytes)}: bzzz://b3/${contentHash}]`
}

function excerpt(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length > EXCERPT_CHARS ? `${line.slice(0, EXCERPT_CHARS - 1)}…` : line
}

/** What others wrote must not steer the terminal. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd')
}
