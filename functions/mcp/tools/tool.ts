import type {
  CallToolResult,
  InputRequiredResult,
  ServerContext,
  Tool as ListedTool,
} from '@modelcontextprotocol/server'
import { z } from 'zod'

import type { Scope } from '../../../shared/auth/scopes.ts'
import type { Call } from '../services.ts'
import { parseArguments } from './arguments.ts'
import { toolResult, type Answer } from './result.ts'

/** What a client may ask for by `?toolsets=`; `default` is what it gets without. */
export const TOOLSETS = ['default', 'jobs', 'threads', 'agents', 'llm', 'ops', 'admin'] as const
export type Toolset = (typeof TOOLSETS)[number]

/** Hints for clients, never what decides. All four are always given. */
export interface Annotations {
  readOnlyHint: boolean
  destructiveHint: boolean
  idempotentHint: boolean
  openWorldHint: boolean
}

const KINDS = {
  /** Changes nothing. */
  read: { readOnlyHint: true, destructiveHint: false, idempotentHint: true },
  /** Adds something; the same again adds nothing more. */
  put: { readOnlyHint: false, destructiveHint: false, idempotentHint: true },
  /** Adds something each time. */
  add: { readOnlyHint: false, destructiveHint: false, idempotentHint: false },
  /** Takes something away that others may rely on. */
  destroy: { readOnlyHint: false, destructiveHint: true, idempotentHint: true },
} as const

interface ToolSpec<Input extends z.ZodObject, Output extends z.ZodObject> {
  name: string
  title: string
  /** For the model: what it does, what its limits are, how long what it makes lasts. */
  description: string
  /** At least one. */
  toolsets: readonly [Toolset, ...Toolset[]]
  /** Null where any good token will do. */
  scope: Scope | null
  kind: keyof typeof KINDS
  /** True where it reaches what is not of the cluster. */
  openWorld?: boolean
  /** Lower than what everybody has, for what is dear. */
  callsPerMinuteMax?: number
  input: Input
  output: Output
  /** For the documentation; a test holds both against the schemas. */
  example: { arguments: z.input<Input>; answer: z.input<Output> }
  run(args: z.output<Input>, call: Call): Promise<Answer<z.input<Output>>>
}

/** A row of the table. */
export interface Tool {
  name: string
  toolsets: readonly Toolset[]
  scope: Scope | null
  readOnly: boolean
  callsPerMinuteMax: number
  /** As `tools/list` shows it, made once. */
  listed: ListedTool
  schemas: { input: z.ZodObject; output: z.ZodObject }
  example: { arguments: object; answer: object }
  /** @throws InvalidRequestError for arguments that do not fit, whatever the work throws */
  call(
    args: unknown,
    call: Call,
    context: ServerContext,
  ): Promise<CallToolResult | InputRequiredResult>
}

export function defineTool<Input extends z.ZodObject, Output extends z.ZodObject>(
  spec: ToolSpec<Input, Output>,
): Tool {
  const { name, title, description, toolsets, scope, kind, example } = spec
  const annotations: Annotations = { ...KINDS[kind], openWorldHint: spec.openWorld ?? false }
  return {
    name,
    toolsets,
    scope,
    readOnly: annotations.readOnlyHint,
    callsPerMinuteMax: spec.callsPerMinuteMax ?? Number.POSITIVE_INFINITY,
    listed: {
      name,
      title,
      description,
      inputSchema: schemaOf(spec.input, 'input'),
      outputSchema: schemaOf(spec.output, 'output'),
      annotations: { title, ...annotations },
    },
    schemas: { input: spec.input, output: spec.output },
    example,
    async call(args, call) {
      const { result, links = [] } = await spec.run(parseArguments(spec.input, args), call)
      // Projected as well as checked: what a daemon adds to its answers stays here.
      return toolResult(spec.output.parse(result), links)
    },
  }
}

function schemaOf(schema: z.ZodObject, io: 'input' | 'output'): ListedTool['inputSchema'] {
  return z.toJSONSchema(schema, { io }) as ListedTool['inputSchema']
}
