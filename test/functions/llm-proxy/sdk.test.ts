import OpenAI, { toFile } from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'

import { startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import { response, responseEvents, toolEvents } from '../../helpers/model-answers.ts'
import {
  chatCompletion,
  chatEvents,
  events,
  failure,
  json,
  MockUpstream,
} from '../../helpers/mock-upstream.ts'

let mock: MockUpstream
let proxy: TestProxy
let client: OpenAI

beforeAll(async () => {
  mock = await MockUpstream.start()
  proxy = await startProxy({
    config: {
      upstreams: { main: { baseURL: mock.url, apiKeyFile: 'key', models: ['gpt-*', 'text-*'] } },
      models: { fast: [{ upstream: 'main', model: 'gpt-mini' }] },
    },
    secrets: { key: 'sk-upstream\n' },
  })
  client = proxy.client()
})

afterAll(async () => {
  await proxy.close()
  await mock.close()
})

beforeEach(() => mock.reset())

const messages = [{ role: 'user' as const, content: 'Say hello.' }]

describe('llm-proxy: the openai SDK with a base URL and a token', () => {
  it('completes a chat, under the key of the upstream and not the token', async () => {
    const answer = await client.chat.completions.create({ model: 'gpt-test', messages })
    expect(answer.choices[0]?.message.content).toBe('Hello there.')
    expect(answer._request_id).toBe('req_mock')
    expect(mock.last).toMatchObject({ method: 'POST', path: '/v1/chat/completions' })
    expect(mock.last.headers.authorization).toBe('Bearer sk-upstream')
    expect(JSON.parse(mock.last.body.toString())).toEqual({ model: 'gpt-test', messages })
  })

  it('streams a chat, and leaves out the usage that it did not ask for', async () => {
    mock.next(events(chatEvents()))
    const stream = await client.chat.completions.create({
      model: 'gpt-test',
      messages,
      stream: true,
    })
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(
      'Hello thère.',
    )
    expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true)
    expect(JSON.parse(mock.last.body.toString())).toMatchObject({
      stream_options: { include_usage: true },
    })
  })

  it('streams the usage that it asked for', async () => {
    mock.next(events(chatEvents()))
    const stream = await client.chat.completions.create({
      model: 'gpt-test',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks.at(-1)?.usage?.total_tokens).toBe(29)
  })

  it('calls tools in a stream', async () => {
    mock.next(events(toolEvents()), events(chatEvents({ words: ['It rains.'] })))
    const runner = client.chat.completions.runTools({
      model: 'gpt-test',
      stream: true,
      messages,
      tools: [
        {
          type: 'function',
          function: {
            name: 'weather',
            description: 'The weather of a city.',
            parameters: { type: 'object', properties: { city: { type: 'string' } } },
            parse: JSON.parse,
            function: ({ city }: { city: string }) => `rain in ${city}`,
          },
        },
      ],
    })
    expect(await runner.finalContent()).toBe('It rains.')
    const second = JSON.parse(mock.last.body.toString()) as {
      messages: { role: string; content: string }[]
    }
    expect(second.messages.at(-1)).toMatchObject({ role: 'tool', content: 'rain in Oslo' })
  })

  it('parses structured output', async () => {
    mock.next(json(chatCompletion({ content: '{"city":"Oslo","degrees":7}' })))
    const schema = z.object({ city: z.string(), degrees: z.number() })
    const answer = await client.chat.completions.parse({
      model: 'gpt-test',
      messages,
      response_format: zodResponseFormat(schema, 'weather'),
    })
    expect(answer.choices[0]?.message.parsed).toEqual({ city: 'Oslo', degrees: 7 })
  })

  it('answers with responses, plain and streamed', async () => {
    mock.next(json(response('Plain.')))
    const plain = await client.responses.create({ model: 'gpt-test', input: 'Say it.' })
    expect(plain.output_text).toBe('Plain.')
    mock.next(events(responseEvents('Streamed.')))
    const stream = client.responses.stream({ model: 'gpt-test', input: 'Say it.' })
    expect((await stream.finalResponse()).output_text).toBe('Streamed.')
  })

  it('gets, cancels, lists the items of and deletes a response', async () => {
    mock.next(
      json(response('Kept.')),
      json({ ...response(''), status: 'cancelled' }),
      json({ object: 'list', data: [{ id: 'msg_1', type: 'message' }], has_more: false }),
      json({ id: 'resp_1', object: 'response', deleted: true }),
    )
    expect((await client.responses.retrieve('resp_1')).output_text).toBe('Kept.')
    expect((await client.responses.cancel('resp_1')).status).toBe('cancelled')
    const items = await client.responses.inputItems.list('resp_1', { limit: 5 })
    expect(items.data).toHaveLength(1)
    await client.responses.delete('resp_1')
    expect(mock.calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /v1/responses/resp_1',
      'POST /v1/responses/resp_1/cancel',
      'GET /v1/responses/resp_1/input_items?limit=5',
      'DELETE /v1/responses/resp_1',
    ])
  })

  it('embeds', async () => {
    const embedding = Buffer.from(new Float32Array([0.5, -0.25]).buffer).toString('base64')
    mock.next(
      json({
        object: 'list',
        model: 'text-embedding',
        data: [{ object: 'embedding', index: 0, embedding }],
        usage: { prompt_tokens: 2, total_tokens: 2 },
      }),
    )
    const answer = await client.embeddings.create({ model: 'text-embedding', input: 'two words' })
    expect(answer.data[0]?.embedding).toEqual([0.5, -0.25])
  })

  it('lists models and aliases, and finds one', async () => {
    mock.otherwise = json({
      object: 'list',
      data: [
        { id: 'gpt-test', object: 'model', created: 7, owned_by: 'mock', x: 1 },
        { id: 'whisper', object: 'model', owned_by: 'mock' },
      ],
    })
    const models = []
    for await (const model of client.models.list()) models.push(model.id)
    expect(models.toSorted()).toEqual(['fast', 'gpt-test'])
    expect(await client.models.retrieve('gpt-test')).toMatchObject({ created: 7, x: 1 })
    await expect(client.models.retrieve('whisper')).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
    })
  })

  it('makes sound, takes sound and takes files, byte for byte', async () => {
    const sound = Buffer.from([0xff, 0x00, 0x0d, 0x0a, 0x2d, 0x2d, 0x80])
    mock.next((reply) => void reply.writeHead(200, { 'content-type': 'audio/mpeg' }).end(sound))
    const speech = await client.audio.speech.create({
      model: 'gpt-tts',
      voice: 'alloy',
      input: 'Hi.',
    })
    expect(Buffer.from(await speech.arrayBuffer())).toEqual(sound)

    mock.next(json({ text: 'Hi.' }))
    const file = await toFile(sound, 'hi.mp3', { type: 'audio/mpeg' })
    const heard = await client.audio.transcriptions.create({ model: 'fast', file })
    expect(heard.text).toBe('Hi.')
    expect(mock.last.body.includes(sound)).toBe(true)
    expect(mock.last.body.toString('latin1')).toMatch(/name="model"\r\n\r\ngpt-mini\r\n/)

    mock.next(json({ id: 'file-1', object: 'file', bytes: 7 }))
    await client.files.create({ file: await toFile(sound, 'a.jsonl'), purpose: 'batch' })
    expect(mock.last.body.includes(sound)).toBe(true)
    mock.next(
      (reply) =>
        void reply.writeHead(200, { 'content-type': 'application/octet-stream' }).end(sound),
    )
    const content = await client.files.content('file-1')
    expect(Buffer.from(await content.arrayBuffer())).toEqual(sound)
  })

  it('gives an alias the name that the upstream knows', async () => {
    await client.chat.completions.create({ model: 'fast', messages })
    expect(JSON.parse(mock.last.body.toString())).toEqual({ model: 'gpt-mini', messages })
  })

  it('raises the errors of the SDK, for ours as for the upstream’s', async () => {
    const ask = (model: string, key = proxy.token) =>
      proxy.client(key).chat.completions.create({ model, messages })
    await expect(ask('gpt-test', 'nonsense')).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
    await expect(ask('claude')).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
    })
    mock.next(failure(400))
    await expect(ask('gpt-test')).rejects.toMatchObject({
      status: 400,
      code: 'mock_400',
      type: 'mock_error',
    })
    const viewer = await proxy.tokens.create({ role: 'viewer' })
    await expect(ask('gpt-test', viewer)).rejects.toBeInstanceOf(OpenAI.PermissionDeniedError)
  })
})
