import {
  CLIENT_CAPABILITIES_META_KEY,
  inputRequired,
  inputResponse,
  type CallToolResult,
  type ContentBlock,
  type InputRequiredResult,
  type InputRequests,
  type ServerContext,
  type Tool as ListedTool,
} from '@modelcontextprotocol/server'

import { z } from 'zod'

import type { Tool } from '../tools/tool.ts'

/** A red dot. */
export const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='
/** A moment of silence. */
export const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA='

type Work = (context: ServerContext) => Promise<CallToolResult | InputRequiredResult>

/** A tool that the suite calls by its name, without arguments and without a scope. */
export function fixture(name: string, work: Work): Tool {
  const title = name.replaceAll('_', ' ')
  const readOnly = { readOnlyHint: true, destructiveHint: false, idempotentHint: true }
  const listed: ListedTool = {
    name,
    title,
    description: 'Called by the public conformance suite.',
    inputSchema: { type: 'object', additionalProperties: false },
    annotations: { title, ...readOnly, openWorldHint: false },
  }
  return {
    ...{ name, toolsets: ['default'], scope: null, readOnly: true, listed },
    callsPerMinuteMax: Number.POSITIVE_INFINITY,
    schemas: { input: z.strictObject({}), output: z.looseObject({}) },
    example: { arguments: {}, answer: {} },
    call: (_args, _call, context) => work(context),
  }
}

export function content(...blocks: ContentBlock[]): CallToolResult {
  return { content: blocks }
}

export function text(words: string): CallToolResult {
  return content({ type: 'text', text: words })
}

/** A form with one field. */
export function form(message: string, field: string, type: 'string' | 'boolean' = 'string') {
  const property = type === 'string' ? { type: 'string' as const } : { type: 'boolean' as const }
  return inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties: { [field]: property }, required: [field] },
  })
}

export function sampling(question: string) {
  return inputRequired.createMessage({
    messages: [{ role: 'user', content: { type: 'text', text: question } }],
    maxTokens: 100,
  })
}

/** Asks until everything that was asked for has been answered in its own kind. */
export function isAnswered({ mcpReq }: ServerContext, requests: InputRequests): boolean {
  return Object.entries(requests).every(([key, { method }]) => {
    const view = inputResponse(mcpReq.inputResponses, key)
    if (method === 'elicitation/create') return view.kind === 'elicit' && view.action === 'accept'
    return view.kind === (method === 'roots/list' ? 'roots' : 'sampling')
  })
}

export function capabilitiesOf({ mcpReq }: ServerContext): Record<string, unknown> {
  const envelope = mcpReq.envelope as Record<string, unknown> | undefined
  return (envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {}) as Record<string, unknown>
}
