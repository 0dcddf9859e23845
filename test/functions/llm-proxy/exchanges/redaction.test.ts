import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { ByteLog } from '../../../../functions/llm-proxy/exchanges/byte-log.ts'
import { parseRecordingRules } from '../../../../functions/llm-proxy/exchanges/recording-rules.ts'
import { redact, redactionsSchema } from '../../../../functions/llm-proxy/exchanges/redaction.ts'

function run(text: string | Buffer, rules: object[], part: 'request' | 'response' = 'request') {
  const result = redact(Buffer.from(text), part, redactionsSchema.parse(rules))
  return result && { text: result.bytes.toString(), redacted: result.redacted }
}

describe('redaction', () => {
  it('replaces what a pattern matches, literally', () => {
    const rules = [{ pattern: 'sk-[a-z0-9]+', replacement: '$&' }]
    expect(run('{"a":"sk-abc sk-1"}', rules)).toEqual({ text: '{"a":"$& $&"}', redacted: true })
  })

  it('says nothing of what it did not change, and keeps its bytes', () => {
    const text = '{ "a" :  1 }'
    const rules = [{ pattern: 'x' }, { path: 'b.c' }]
    expect(run(text, rules)).toEqual({ text, redacted: false })
  })

  it('replaces values at paths of JSON', () => {
    const body = {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'tool', content: [{ text: 'b' }] },
      ],
      user: { password: 'p', deep: [{ password: { x: 1 } }] },
    }
    const rules = [{ path: 'messages.*.content' }, { path: '**.password', replacement: '-' }]
    expect(JSON.parse(run(JSON.stringify(body), rules)!.text)).toEqual({
      messages: [
        { role: 'user', content: '[redacted]' },
        { role: 'tool', content: '[redacted]' },
      ],
      user: { password: '-', deep: [{ password: '-' }] },
    })
  })

  it('replaces values in each event of a stream and leaves the others as they are', () => {
    const stream = 'event: a\ndata: {"delta":{"content":"hi"},"n":1}\n\n: ping\n\ndata: [DONE]\n\n'
    expect(run(stream, [{ path: 'delta.content' }], 'response')?.text).toBe(
      'event: a\ndata: {"delta":{"content":"[redacted]"},"n":1}\n\n: ping\n\ndata: [DONE]\n\n',
    )
  })

  it('keeps to the part that a rule is for', () => {
    const rules = [{ pattern: 'secret', in: 'request' }]
    expect(run('secret', rules)).toMatchObject({ redacted: true })
    expect(run('secret', rules, 'response')).toEqual({ text: 'secret', redacted: false })
  })

  it('gives up what is no text, where there is anything to take out', () => {
    const bytes = Buffer.from([0xff, 0xfe])
    expect(redact(bytes, 'request', redactionsSchema.parse([{ pattern: 'x' }]))).toBeNull()
    expect(redact(bytes, 'request', [])).toEqual({ bytes, redacted: false })
  })

  it('leaves nothing of what a pattern matches, whatever stands around it', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('canary', 'can', 'ary', ' ', '"', 'é')), (words) => {
        const text = words.join('')
        expect(run(text, [{ pattern: 'canary', replacement: '' }])!.text.length).toBe(
          text.split('canary').join('').length,
        )
      }),
    )
  })
})

describe('recording-rules', () => {
  it('knows the mode of a project by its name, by its beginning, or for all', () => {
    const rules = parseRecordingRules(
      JSON.stringify({
        default: 'metadata',
        projects: {
          'apollo-*': 'off',
          'apollo-public': 'full',
          '*': 'metadata',
          'apollo-p*': 'off',
        },
      }),
    )
    const projects = ['apollo-x', 'apollo-public', 'apollo', 'apollo-private']
    const modes = projects.map((project) => rules.modeOf(project))
    expect(modes).toEqual(['off', 'full', 'metadata', 'off'])
    expect(parseRecordingRules('{}').modeOf('any')).toBe('full')
  })

  it.each(['{"redact": [{"pattern": "("}]}', '{"projects": {"a": "some"}}', '{"modes": {}}'])(
    'refuses %s',
    (text) => expect(() => parseRecordingRules(text)).toThrow(),
  )
})

describe('byte-log', () => {
  it('gives back the bytes that it was given', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 6_000 }), { maxLength: 40 }), (pieces) => {
        const log = new ByteLog()
        for (const piece of pieces) log.append(piece)
        const whole = Buffer.concat(pieces)
        expect(log.length).toBe(whole.length)
        expect(log.toBuffer().equals(whole)).toBe(true)
      }),
      { numRuns: 50 },
    )
  })
})
