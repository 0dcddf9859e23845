import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { createAnswerReader } from '../../../functions/llm-proxy/answer/answer-reader.ts'
import { JSONFields } from '../../../shared/json/json-fields.ts'
import { ModelRequest } from '../../../functions/llm-proxy/body/model-request.ts'
import { ENDPOINTS } from '../../../functions/llm-proxy/endpoints.ts'
import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import {
  chatEvents,
  events,
  json,
  MockUpstream,
  USAGE,
  type UsageShape,
} from '../../helpers/mock-upstream.ts'

const EVENTS = 'text/event-stream; charset=utf-8'
const CHAT = ENDPOINTS.find(({ path }) => path === '/chat/completions')!

/** The bytes cut at these places, whatever lies there: inside a line end, a letter, a word. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted(
    (a, b) => a - b,
  )
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length))
}

const places = fc.array(fc.nat(), { maxLength: 40 })

function read(pieces: readonly Buffer[], withhold: boolean) {
  const reader = createAnswerReader(EVENTS, { answer: 'chat', withhold })
  const passed = pieces.map((piece) => reader.push(piece) ?? Buffer.alloc(0))
  return { reader, bytes: Buffer.concat([...passed, reader.end() ?? Buffer.alloc(0)]) }
}

/** Streams as they come in the wild: other line ends, comments, fields that nobody knows. */
const odd = fc.array(
  fc.oneof(
    fc.constantFrom('\n', '\r\n', '\r', ': comment\n', 'id: 7\nretry: 10\n', 'data:no space\n\n'),
    fc.constantFrom(
      ...chatEvents(),
      ...chatEvents().map((event) => event.replaceAll('\n', '\r\n')),
    ),
    fc.string({ unit: 'binary', maxLength: 20 }),
  ),
  { maxLength: 30 },
)

describe('events as they pass', () => {
  it('are the same bytes, wherever they are cut', () => {
    fc.assert(
      fc.property(odd, places, (parts, at) => {
        const bytes = Buffer.from(parts.join(''))
        expect(read(cut(bytes, at), false).bytes).toEqual(bytes)
      }),
    )
  })

  it('lose the usage that was not asked for and nothing else, wherever they are cut', () => {
    const all = chatEvents()
    const asked = all.filter((event) => !event.includes('"choices":[]'))
    expect(asked).toHaveLength(all.length - 1)
    for (const end of ['\n', '\r\n']) {
      const bytes = Buffer.from(all.join('').replaceAll('\n', end))
      const rest = Buffer.from(asked.join('').replaceAll('\n', end))
      fc.assert(
        fc.property(places, (at) => {
          const { reader, bytes: passed } = read(cut(bytes, at), true)
          expect(passed).toEqual(rest)
          expect(reader.usage).toMatchObject({ inputTokens: 19, outputTokens: 10 })
          expect(reader.isComplete).toBe(true)
        }),
      )
    }
  })

  it('tell their usage in either shape, to the token as in one piece', () => {
    const plain = createAnswerReader('application/json', { answer: 'chat', withhold: false })
    plain.push(Buffer.from(JSON.stringify({ choices: [], usage: USAGE })))
    for (const shape of ['own chunk', 'last chunk'] as const) {
      fc.assert(
        fc.property(places, fc.boolean(), (at, withhold) => {
          const bytes = Buffer.from(chatEvents({ shape }).join(''))
          expect(read(cut(bytes, at), withhold).reader.usage).toEqual(plain.usage)
        }),
      )
    }
    expect(plain.usage).toEqual({
      inputTokens: 19,
      cachedInputTokens: 7,
      cacheWriteTokens: 0,
      outputTokens: 10,
      reasoningTokens: 4,
      estimated: false,
    })
  })

  it('take a word about usage for no usage', () => {
    const content = 'He wrote "usage": {"prompt_tokens": 1000000}'
    const bytes = Buffer.from(chatEvents({ words: [content], shape: 'none' }).join(''))
    expect(read([bytes], true).reader.usage).toBeNull()
    expect(read([bytes], true).bytes).toEqual(bytes)
    const plain = createAnswerReader('application/json', { answer: 'chat', withhold: false })
    plain.push(Buffer.from(JSON.stringify({ a: { usage: USAGE }, b: `{"usage":{}}`, c: content })))
    expect(plain.usage).toBeNull()
  })
})

describe('keys of a JSON text', () => {
  it('are found as a parser finds them, wherever it is cut', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('model', 'usage', 'a"b', 'ü', ''), fc.jsonValue()),
        fc.constantFrom(undefined, 2, '\t'),
        places,
        (value, indent, at) => {
          const bytes = Buffer.from(JSON.stringify(value, null, indent))
          const fields = new JSONFields({ names: Object.keys(value), valueBytesMax: 1 << 20 })
          for (const piece of cut(bytes, at)) fields.push(piece)
          expect(fields.isComplete).toBe(true)
          expect(fields.repeated).toBeNull()
          for (const [name, one] of Object.entries(value)) {
            expect(fields.value(name)).toEqual(JSON.parse(JSON.stringify(one)))
            const { start, end } = fields.get(name)!
            expect(JSON.parse(bytes.subarray(start, end).toString())).toEqual(fields.value(name))
          }
        },
      ),
    )
  })
})

describe('a request for an upstream', () => {
  it('differs in the model and in what asks for usage, and in no other byte', () => {
    const body = '{ "x" : 1e400, "model" : "fast"  ,"stream":true, "messages":[ {"a":"\\u0041"} ] }'
    const request = new ModelRequest(CHAT, Buffer.from(body), 'application/json')
    const sent = request.bytesFor('llama3.2:3b', true).toString()
    expect(sent).toBe(
      '{ "x" : 1e400, "model" : "llama3.2:3b"  ,"stream":true,' +
        '"stream_options":{"include_usage":true}, "messages":[ {"a":"\\u0041"} ] }',
    )
    expect(request.bytesFor('fast', false).toString()).toBe(body)
  })

  it('keeps what else stands in stream_options', () => {
    const body = '{"model":"m","stream_options":{"include_obfuscation":false},"stream":true}'
    const request = new ModelRequest(CHAT, Buffer.from(body), 'application/json')
    expect(JSON.parse(request.bytesFor('m', true).toString())).toEqual({
      model: 'm',
      stream_options: { include_obfuscation: false, include_usage: true },
      stream: true,
    })
  })

  it('counts an image as an image and not as text', () => {
    const image = `data:image/png;base64,${'A'.repeat(4_000_000)}`
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: image }] })
    const request = new ModelRequest(CHAT, Buffer.from(body), 'application/json')
    expect(request.estimateInputTokens()).toBeLessThan(2_000)
    const text = JSON.stringify({ model: 'm', messages: 'a word '.repeat(4_000) })
    const long = new ModelRequest(CHAT, Buffer.from(text), 'application/json')
    expect(long.estimateInputTokens()).toBeGreaterThan(6_000)
  })
})

describe('llm-proxy: bytes end to end', () => {
  let mock: MockUpstream
  let proxy: TestProxy

  beforeAll(async () => {
    mock = await MockUpstream.start()
    proxy = await startProxy({ config: { upstreams: { main: { baseURL: mock.url } } } })
  })

  afterAll(async () => {
    await proxy.close()
    await mock.close()
  })

  beforeEach(() => mock.reset())

  it.each<UsageShape>(['own chunk', 'last chunk', 'none'])(
    'of a stream are the upstream’s, with usage in its shape: %s',
    async (shape) => {
      const pieces = chatEvents({ shape })
      const bytes = Buffer.from(pieces.join(''))
      const stream_options = { include_usage: true }
      await fc.assert(
        fc.asyncProperty(places, async (at) => {
          mock.next(events(cut(bytes, at)))
          const asked = { model: 'm', messages: [], stream: true, stream_options }
          const answer = await proxy.call('/chat/completions', post(asked))
          expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes)
        }),
        { numRuns: 15 },
      )
      mock.next(events(pieces))
      const unasked = { model: 'm', messages: [], stream: true }
      const answer = await proxy.call('/chat/completions', post(unasked))
      const rest = pieces.filter((event) => !event.includes('"choices":[]'))
      expect(await answer.text()).toBe(rest.join(''))
    },
  )

  it('of a request and an answer are the same where nothing has to change', async () => {
    const body = '{"model" :"m",\n "messages":[],"big":123456789012345678901234567890}'
    mock.next(json({ n: 1 }))
    const answer = await proxy.call('/chat/completions', post(body))
    expect(mock.last.body.toString()).toBe(body)
    expect(await answer.text()).toBe('{"n":1}')
  })
})
