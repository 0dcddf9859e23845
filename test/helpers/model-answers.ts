import { USAGE, type MockUsage, type UsageShape } from './mock-upstream.ts'

/** Answers of other kinds than a chat in words, whole and as the events of a stream. */

const MODEL = 'gpt-test-2026-01-01'

const CHUNK = { id: 'c', object: 'chat.completion.chunk', created: 1, model: MODEL }
const TOOL = { name: 'weather', arguments: '{"city":"Oslo"}' }

/** A chat that calls a tool. */
export function toolCompletion(usage: MockUsage = USAGE): object {
  const tool_calls = [{ id: 'call_1', type: 'function', function: TOOL }]
  const message = { role: 'assistant', content: null, tool_calls }
  const choices = [{ index: 0, message, finish_reason: 'tool_calls' }]
  return { id: 'c', object: 'chat.completion', created: 1, model: MODEL, choices, usage }
}

export function toolEvents(usage: MockUsage = USAGE, shape: UsageShape = 'own chunk'): string[] {
  const chunk = (delta: object, finish_reason: string | null, more: object = {}) =>
    data({ ...CHUNK, choices: [{ index: 0, delta, finish_reason }], ...more })
  const call = (more: object) =>
    chunk({ role: 'assistant', tool_calls: [{ index: 0, ...more }] }, null)
  return [
    call({ id: 'call_1', type: 'function', function: { name: TOOL.name, arguments: '' } }),
    call({ function: { arguments: TOOL.arguments.slice(0, 8) } }),
    call({ function: { arguments: TOOL.arguments.slice(8) } }),
    chunk({}, 'tool_calls', shape === 'last chunk' ? { usage } : {}),
    ...(shape === 'own chunk' ? [data({ ...CHUNK, choices: [], usage })] : []),
    'data: [DONE]\n\n',
  ]
}

const TEXT = { id: 't', object: 'text_completion', created: 1, model: MODEL }

/** What was there before chats. */
export function textCompletion(usage: MockUsage = USAGE): object {
  const choices = [{ index: 0, text: 'Hello there.', logprobs: null, finish_reason: 'stop' }]
  return { ...TEXT, choices, usage }
}

export function textEvents(usage: MockUsage = USAGE): string[] {
  const piece = (text: string, finish_reason: string | null) =>
    data({ ...TEXT, choices: [{ index: 0, text, finish_reason }] })
  const last = data({ ...TEXT, choices: [], usage })
  return [piece('Hello ', null), piece('there.', 'stop'), last, 'data: [DONE]\n\n']
}

/** Of the Responses API, which has names of its own for the same numbers. */
export function response(text: string, usage: MockUsage = USAGE): object {
  const content = [{ type: 'output_text', text, annotations: [] }]
  return {
    ...{ id: 'resp_1', object: 'response', created_at: 1, status: 'completed', model: MODEL },
    output: [{ id: 'msg_1', type: 'message', role: 'assistant', status: 'completed', content }],
    usage: {
      input_tokens: usage.prompt_tokens,
      output_tokens: usage.completion_tokens,
      total_tokens: usage.total_tokens,
      input_tokens_details: usage.prompt_tokens_details,
      output_tokens_details: usage.completion_tokens_details,
    },
  }
}

export function responseEvents(text: string, usage: MockUsage = USAGE): string[] {
  const event = (type: string, more: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`
  const part = { type: 'output_text', text: '', annotations: [] }
  const item = { id: 'msg_1', type: 'message', role: 'assistant', content: [] }
  const at = { item_id: 'msg_1', output_index: 0, content_index: 0 }
  const begun = { ...response(''), output: [], status: 'in_progress', usage: null }
  return [
    event('response.created', { response: begun }),
    event('response.output_item.added', { output_index: 0, item }),
    event('response.content_part.added', { ...at, part }),
    event('response.output_text.delta', { ...at, delta: text }),
    event('response.completed', { response: response(text, usage) }),
  ]
}

function data(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`
}
