import { randomBytes } from 'node:crypto'

import {
  createRequestStateCodec,
  inputRequired,
  type Server,
  type ServerCapabilities,
  type ServerContext,
} from '@modelcontextprotocol/server'

import type { Table } from '../access/surface.ts'
import { definePrompt, say, show, type PromptRow } from '../prompts/prompt.ts'
import { defineResource, json, type ResourceRow } from '../resources/resource.ts'
import { form, isAnswered, PNG } from './fixtures.ts'
import { conformanceTools, type ConformanceHooks } from './tools.ts'

/** Of the suite, which asks for what the mesh has no use for. */
const CONFORMANCE_CAPABILITIES: ServerCapabilities = {
  tools: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  prompts: { listChanged: true },
  logging: {},
  completions: {},
}

/**
 * The table with what the public conformance suite calls beside it. Switched on for tests alone: it
 * shows nothing of the mesh, and asks for no scope.
 */
export function withConformance(table: Table, { notify }: Pick<ConformanceHooks, 'notify'>) {
  const state = createRequestStateCodec<{ step: number }>({ key: randomBytes(32) })
  return {
    table: {
      tools: [...table.tools, ...conformanceTools({ notify, state })],
      resources: [...resources(), ...table.resources],
      prompts: [...table.prompts, ...prompts()],
    } satisfies Table,
    servers: {
      capabilities: CONFORMANCE_CAPABILITIES,
      requestState: {
        verify: (sealed: string, context: ServerContext) => state.verify(sealed, context),
      },
      extend: addSubscriptions,
    },
  }
}

/** Subscriptions of the older era: taken note of, as nothing here changes by itself. */
function addSubscriptions(server: Server): void {
  server.setRequestHandler('resources/subscribe', () => ({}))
  server.setRequestHandler('resources/unsubscribe', () => ({}))
}

function resources(): ResourceRow[] {
  // What every good token holds but one without any scope.
  const common = { title: 'For tests', description: 'Read by the suite.', ttlMs: 0 }
  const scope = 'mesh:read' as const
  return [
    defineResource({
      ...common,
      ...{ name: 'static-text', uri: 'test://static-text', mimeType: 'text/plain', scope },
      read: async (uri) => ({
        uri,
        mimeType: 'text/plain',
        text: 'This is the content of the static text resource.',
      }),
    }),
    defineResource({
      ...common,
      ...{ name: 'static-binary', uri: 'test://static-binary', mimeType: 'image/png', scope },
      read: async (uri) => ({ uri, mimeType: 'image/png', blob: PNG }),
    }),
    defineResource({
      ...common,
      ...{ name: 'watched', uri: 'test://watched-resource', mimeType: 'text/plain', scope },
      read: async (uri) => ({ uri, mimeType: 'text/plain', text: 'Watched resource content' }),
    }),
    defineResource({
      ...common,
      ...{
        name: 'template',
        uri: 'test://template/{id}/data',
        mimeType: 'application/json',
        scope,
      },
      read: async (uri, [id = '']) =>
        json(uri, { id, templateTest: true, data: `Data for ID: ${id}` }),
    }),
  ]
}

function prompts(): PromptRow[] {
  const scope = 'mesh:read' as const
  const common = { title: 'For tests', description: 'Used by the suite.', scope, example: {} }
  const argument = (name: string) => ({ name, description: `The argument ${name}`, required: true })
  const context = { user_context: form('What context should the prompt use?', 'context') }
  const asking = definePrompt({
    ...common,
    name: 'test_input_required_result_prompt',
    arguments: [],
    get: async () => [say('With the context that was given.')],
  })
  return [
    definePrompt({
      ...common,
      name: 'test_simple_prompt',
      arguments: [],
      get: async () => [say('This is a simple prompt for testing.')],
    }),
    definePrompt({
      ...common,
      name: 'test_prompt_with_arguments',
      arguments: [{ ...argument('arg1'), complete: completeParis }, argument('arg2')],
      get: async (args: Record<string, string>) => [
        say(`Prompt with arguments: arg1='${args['arg1']}', arg2='${args['arg2']}'`),
      ],
    }),
    definePrompt({
      ...common,
      name: 'test_prompt_with_embedded_resource',
      arguments: [argument('resourceUri')],
      get: async (args: Record<string, string>) => [
        show({
          uri: args['resourceUri'] ?? '',
          mimeType: 'text/plain',
          text: 'Embedded resource content for testing.',
        }),
        say('Please process the embedded resource above.'),
      ],
    }),
    definePrompt({
      ...common,
      name: 'test_prompt_with_image',
      arguments: [],
      get: async () => [
        { role: 'user', content: { type: 'image', data: PNG, mimeType: 'image/png' } },
        say('Please analyze the image above.'),
      ],
    }),
    {
      ...asking,
      get: async (args, call, server) =>
        isAnswered(server, context)
          ? asking.get(args, call, server)
          : inputRequired({ inputRequests: context }),
    },
  ]
}

async function completeParis(typed: string): Promise<string[]> {
  return ['paris', 'park', 'party'].filter((value) => value.startsWith(typed))
}
