import type { CallOptions } from '../daemon/daemon-client.ts'
import { EXPORT_PAGE_MESSAGES } from './constants.ts'
import { isText } from './searched-text.ts'
import type { IndexedThread } from './thread-index.ts'
import type { MessagePage, ReadMessage } from './thread-query.ts'

export const EXPORT_FORMATS = ['json', 'markdown'] as const

export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export const EXPORT_MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  json: 'application/json',
  markdown: 'text/markdown; charset=utf-8',
}

/** How an export reads a thread. */
export interface ExportSource {
  page(query: { after?: string; limit: number }): Promise<MessagePage>
  /** A long text. */
  content(hash: string, options: CallOptions): Promise<Buffer>
}

/** What of a thread is told to others. */
export function threadJSON(thread: IndexedThread) {
  const { address, title, createdBy, createdAt, updatedAt, version, messages, frontier } = thread
  const { ends, seq } = frontier
  return {
    address,
    title,
    createdBy,
    createdAt,
    updatedAt,
    version,
    messages,
    seq,
    ends,
    from: thread.from,
  }
}

/**
 * A thread as one text, with its long texts in place. It has the messages that were there when it
 * began and perhaps some that came meanwhile.
 */
export async function* exportThread(
  thread: IndexedThread,
  source: ExportSource,
  format: ExportFormat,
  options: CallOptions,
): AsyncGenerator<string> {
  const isJSON = format === 'json'
  yield isJSON ? `{"thread":${JSON.stringify(threadJSON(thread))},"messages":[` : titleOf(thread)
  let isFirst = true
  for await (const message of messagesOf(source, options)) {
    if (isJSON) yield `${isFirst ? '' : ','}\n${JSON.stringify(message)}`
    else yield toMarkdown(message)
    isFirst = false
  }
  if (isJSON) yield '\n]}\n'
}

async function* messagesOf(
  source: ExportSource,
  options: CallOptions,
): AsyncGenerator<ReadMessage> {
  let after: string | undefined
  do {
    options.signal?.throwIfAborted()
    const place = after === undefined ? {} : { after }
    const { messages, next } = await source.page({ ...place, limit: EXPORT_PAGE_MESSAGES })
    for (const message of messages) yield await withText(message, source, options)
    after = next ?? undefined
  } while (after !== undefined)
}

async function withText(
  message: ReadMessage,
  source: ExportSource,
  options: CallOptions,
): Promise<ReadMessage> {
  const { contentHash } = message
  if (contentHash === undefined || !isText(message)) return message
  const content = await source.content(contentHash, options)
  return { ...message, content: content.toString() }
}

function titleOf({ address, title, createdBy, createdAt }: IndexedThread): string {
  return `# ${oneLine(title ?? address)}\n\n${address}, begun by ${oneLine(createdBy)} at ${createdAt}\n`
}

function toMarkdown(message: ReadMessage): string {
  const { seq, role, author, createdAt, refs, content, contentHash, mediaType } = message
  const body = content ?? `[${mediaType ?? 'content'}](bzzz://b3/${contentHash})`
  const links = refs.map((ref) => `- ${ref}\n`).join('')
  const head = `\n## ${seq}. ${role}: ${oneLine(author)}\n\n*${createdAt}*\n\n`
  return `${head}${body}\n${links === '' ? '' : `\n${links}`}`
}

/** A name that has a line break would begin another heading. */
function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ')
}
