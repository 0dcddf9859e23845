import { setTimeout as sleep } from 'node:timers/promises'

import {
  inputRequired,
  type InputRequests,
  type RequestStateCodec,
} from '@modelcontextprotocol/server'

import type { Tool } from '../tools/tool.ts'
import {
  capabilitiesOf,
  content,
  fixture,
  form,
  isAnswered,
  PNG,
  sampling,
  text,
  WAV,
} from './fixtures.ts'

/** Between two messages, so that the suite sees that they come one after the other. */
const STEP_MS = 50

export interface ConformanceHooks {
  /** Tells open subscriptions that a list has changed. */
  notify: () => { toolsChanged(): void; promptsChanged(): void }
  state: RequestStateCodec<{ step: number }>
}

/** What the scenarios of the public suite call; each is described in the scenario. */
export function conformanceTools(hooks: ConformanceHooks): Tool[] {
  return [...contentTools(), ...reportingTools(), ...changeTools(hooks), ...inputTools(hooks)]
}

function contentTools(): Tool[] {
  const image = { type: 'image' as const, data: PNG, mimeType: 'image/png' }
  const resource = (uri: string, mimeType: string, words: string) => ({
    type: 'resource' as const,
    resource: { uri, mimeType, text: words },
  })
  const plain = resource(
    'test://embedded-resource',
    'text/plain',
    'This is an embedded resource content.',
  )
  const mixed = JSON.stringify({ test: 'data', value: 123 })
  return [
    fixture('test_simple_text', async () => text('This is a simple text response for testing.')),
    fixture('test_image_content', async () => content(image)),
    fixture('test_audio_content', async () =>
      content({ type: 'audio', data: WAV, mimeType: 'audio/wav' }),
    ),
    fixture('test_embedded_resource', async () => content(plain)),
    fixture('test_multiple_content_types', async () =>
      content(
        { type: 'text', text: 'Multiple content types test:' },
        image,
        resource('test://mixed-content-resource', 'application/json', mixed),
      ),
    ),
    fixture('test_error_handling', async () => ({
      ...text('This tool intentionally returns an error for testing'),
      isError: true,
    })),
  ]
}

function reportingTools(): Tool[] {
  return [
    fixture('test_tool_with_logging', async ({ mcpReq }) => {
      for (const words of ['started', 'processing data', 'completed']) {
        await mcpReq.log('info', `Tool ${words}`)
        await sleep(STEP_MS)
      }
      return text('Tool with logging executed successfully')
    }),
    fixture('test_logging_tool', async ({ mcpReq }) => {
      await mcpReq.log('info', 'Only for a client that asked for logs')
      return text('logged')
    }),
    fixture('test_tool_with_progress', async ({ mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken ?? 0
      for (const progress of [0, 50, 100]) {
        const params = { progressToken, progress, total: 100, message: `Completed ${progress}` }
        await mcpReq.notify({ method: 'notifications/progress', params })
        await sleep(STEP_MS)
      }
      return text(String(progressToken))
    }),
  ]
}

function changeTools({ notify }: ConformanceHooks): Tool[] {
  return [
    fixture('test_trigger_tool_change', async () => {
      notify().toolsChanged()
      return text('told')
    }),
    fixture('test_trigger_prompt_change', async () => {
      notify().promptsChanged()
      return text('told')
    }),
  ]
}

/** One that asks for these and is content with any answer of their kind. */
function asking(name: string, inputRequests: InputRequests): Tool {
  return fixture(name, async (context) =>
    isAnswered(context, inputRequests)
      ? text(`answered: ${JSON.stringify(context.mcpReq.inputResponses)}`)
      : inputRequired({ inputRequests }),
  )
}

function inputTools(hooks: ConformanceHooks): Tool[] {
  const prefix = 'test_input_required_result'
  const name = form('What is your name?', 'name')
  const roots = inputRequired.listRoots()
  return [
    asking('test_missing_capability', { question: sampling('Anything?') }),
    asking('test_streaming_elicitation', { user_name: name }),
    asking(`${prefix}_elicitation`, { user_name: name }),
    asking(`${prefix}_sampling`, { capital_question: sampling('What is the capital of France?') }),
    asking(`${prefix}_list_roots`, { client_roots: roots }),
    stepping(
      `${prefix}_request_state`,
      [{ confirm: form('Please confirm', 'ok', 'boolean') }],
      hooks,
    ),
    stepping(
      `${prefix}_tampered_state`,
      [{ confirm: form('Please confirm', 'ok', 'boolean') }],
      hooks,
    ),
    stepping(
      `${prefix}_multiple_inputs`,
      [{ user_name: name, greeting: sampling('Generate a greeting'), client_roots: roots }],
      hooks,
    ),
    stepping(
      `${prefix}_multi_round`,
      [
        { step1: form('Step 1: What is your name?', 'name') },
        { step2: form('Step 2: What is your favorite color?', 'color') },
      ],
      hooks,
    ),
    fixture(`${prefix}_capabilities`, async (context) => {
      const declared = capabilitiesOf(context)
      const inputRequests: InputRequests = {
        ...('elicitation' in declared && { user_name: name }),
        ...('sampling' in declared && { question: sampling('Anything?') }),
        ...('roots' in declared && { client_roots: roots }),
      }
      const isNothing = Object.keys(inputRequests).length === 0
      if (isNothing || isAnswered(context, inputRequests)) return text('answered')
      return inputRequired({ inputRequests })
    }),
  ]
}

/** Asks for one thing after the other; where it stands is in a state that only we can write. */
function stepping(
  name: string,
  steps: readonly InputRequests[],
  { state }: ConformanceHooks,
): Tool {
  return fixture(name, async (context) => {
    const given = context.mcpReq.requestState<{ step: number }>()
    const step = given?.step ?? 0
    const asked = steps[step]
    const next = given && asked && isAnswered(context, asked) ? step + 1 : step
    const inputRequests = steps[next]
    if (!inputRequests) return text('state-ok')
    return inputRequired({ inputRequests, requestState: await state.mint({ step: next }, context) })
  })
}
