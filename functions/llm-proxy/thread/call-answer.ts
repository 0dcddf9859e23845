import type { MessageRole } from '../../../shared/thread/message.ts'
import type { CallAnswer } from './call-messages.ts'

export interface Said {
  role: MessageRole
  content: string
  mediaType?: string
}

interface ToolCall {
  index?: number
  id?: string
  type?: string
  function?: { name?: string; arguments?: string }
}

interface Choice {
  text?: unknown
  message?: { content?: unknown; tool_calls?: unknown }
  delta?: { content?: unknown; tool_calls?: unknown }
}

interface Answer {
  choices?: unknown
  output?: unknown
  response?: { output?: unknown }
}

/** What the model said; null where it said nothing that a thread has a place for. */
export function readAnswer({ mediaType, bytes }: CallAnswer): Said | null {
  if (!mediaType.startsWith('text/event-stream')) {
    const answer = parse(bytes.toString())
    return answer && readWhole(answer)
  }
  return readEvents(bytes.toString())
}

function readWhole(answer: Answer): Said | null {
  if (Array.isArray(answer.output)) return readOutput(answer.output)
  const [first] = choicesOf(answer)
  const text = first?.message?.content ?? first?.text
  const calls = first?.message?.tool_calls
  return first
    ? said(typeof text === 'string' ? text : '', Array.isArray(calls) ? calls : [])
    : null
}

/** The first choice, put together from its pieces; the last event of a response has it whole. */
function readEvents(text: string): Said | null {
  let content = ''
  const calls: ToolCall[] = []
  for (const line of text.split(/\r\n|\n|\r/)) {
    if (!line.startsWith('data:')) continue
    const event = parse(line.slice('data:'.length))
    if (!event) continue
    if (Array.isArray(event.response?.output) && event.response.output.length > 0) {
      return readOutput(event.response.output)
    }
    const [first] = choicesOf(event)
    const piece = first?.delta?.content ?? first?.text
    if (typeof piece === 'string') content += piece
    const parts = first?.delta?.tool_calls
    if (Array.isArray(parts)) for (const part of parts as ToolCall[]) addCall(calls, part)
  }
  return content === '' && calls.length === 0 ? null : said(content, calls)
}

/** Calls of tools at once in one answer; more is no answer. */
const CALLS_MAX = 128

function addCall(calls: ToolCall[], part: ToolCall): void {
  const index = part.index ?? 0
  if (!Number.isInteger(index) || index < 0 || index >= CALLS_MAX) return
  const known = (calls[index] ??= { function: { name: '', arguments: '' } })
  if (part.id !== undefined) known.id = part.id
  if (part.type !== undefined) known.type = part.type
  known.function = {
    name: (known.function?.name ?? '') + (part.function?.name ?? ''),
    arguments: (known.function?.arguments ?? '') + (part.function?.arguments ?? ''),
  }
}

function readOutput(output: unknown[]): Said | null {
  const items = output as { type?: unknown; content?: unknown }[]
  const isText = items.every(({ type }) => type === 'message' || type === 'reasoning')
  if (!isText) {
    return { role: 'assistant', content: JSON.stringify(output), mediaType: 'application/json' }
  }
  const parts = items.flatMap(({ content }) => (Array.isArray(content) ? content : []))
  const texts = (parts as { text?: unknown; refusal?: unknown }[]).map((part) => {
    const text = part.text ?? part.refusal
    return typeof text === 'string' ? text : ''
  })
  return said(texts.join(''), [])
}

function said(content: string, calls: readonly unknown[]): Said {
  const made = calls.filter((call) => call !== undefined)
  if (made.length === 0) return { role: 'assistant', content }
  const whole = JSON.stringify({ content: content === '' ? null : content, tool_calls: made })
  return { role: 'assistant', content: whole, mediaType: 'application/json' }
}

function choicesOf({ choices }: Answer): Choice[] {
  return Array.isArray(choices) ? (choices as Choice[]) : []
}

function parse(text: string): Answer | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : null
  } catch {
    return null
  }
}
