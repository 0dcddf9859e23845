import { hashBytes } from '../../../shared/blob/hash.ts'
import type { MessageRole } from '../../../shared/thread/message.ts'
import type { NewMessage } from '../../../shared/thread/new-message.ts'
import { readAnswer, type Said } from './call-answer.ts'

/**
 * Of the history that a client sends along, as much is looked at: what is older is in the thread,
 * or was never meant to be.
 */
const MESSAGES_MAX = 200

/** The answer of a call, as its caller got it. */
export interface CallAnswer {
  mediaType: string
  bytes: Buffer
  model: string
}

const ROLES: Readonly<Record<string, MessageRole>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
  function: 'tool',
}

/**
 * The messages of a call, for a thread. Each has a key made of all that was said up to it, so that
 * the history, which clients send along with every call, is in the thread once.
 */
export function messagesOf(request: unknown, answer: CallAnswer, refs: string[]): NewMessage[] {
  const asked = readRequest(request)
  const said = readAnswer(answer)
  let chain = ''
  const messages = [...asked, ...(said ? [said] : [])].map((one, index) => {
    chain = hashBytes(Buffer.from(JSON.stringify([chain, one.role, one.content])))
    const isAnswer = index === asked.length
    return {
      role: one.role,
      content: one.content.toWellFormed(),
      ...(one.mediaType !== undefined && { mediaType: one.mediaType }),
      ...(isAnswer && answer.model !== '' && { author: answer.model.slice(0, 256) }),
      ...(isAnswer && refs.length > 0 && { refs }),
      key: `llm:${chain}`,
    }
  })
  return messages.slice(-MESSAGES_MAX)
}

/** `messages` of a chat; `instructions` and `input` of a response; `prompt` of a completion. */
function readRequest(request: unknown): Said[] {
  if (typeof request !== 'object' || request === null) return []
  const { messages, input, instructions, prompt } = request as Record<string, unknown>
  if (Array.isArray(messages)) return messages.flatMap(toSaid)
  const system = typeof instructions === 'string' ? [say('system', instructions)] : []
  const text = input ?? prompt
  if (typeof text === 'string') return [...system, say('user', text)]
  return [...system, ...(Array.isArray(text) ? text.flatMap(toSaid) : [])]
}

function say(role: MessageRole, content: string): Said {
  return { role, content }
}

function toSaid(given: unknown): Said[] {
  if (typeof given !== 'object' || given === null) return []
  const { role, content, ...more } = given as Record<string, unknown>
  const known = typeof role === 'string' ? ROLES[role] : undefined
  // An item of a response that is no message: a call of a tool, its result, a reference.
  if (!known) return [{ role: 'event', content: JSON.stringify(given), mediaType: JSON_TYPE }]
  const text = textOf(content)
  const isPlain = text !== null && more['tool_calls'] === undefined
  if (isPlain) return [say(known, text)]
  return [{ role: known, content: JSON.stringify(withoutRole(given)), mediaType: JSON_TYPE }]
}

const JSON_TYPE = 'application/json'

function withoutRole(given: object): object {
  const { role: _role, ...rest } = given as Record<string, unknown>
  return rest
}

/** Null for what is more than text. */
function textOf(content: unknown): string | null {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return null
  const parts = content.map((part: unknown) => {
    const { type, text } = (part ?? {}) as Record<string, unknown>
    return typeof text === 'string' && /^(input_|output_)?text$/.test(String(type)) ? text : null
  })
  return parts.includes(null) ? null : parts.join('')
}
