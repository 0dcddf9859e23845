import { describe, expect, it } from 'vitest'

import { TABLE } from '../../../functions/mcp/table.ts'
import { RESULT_CHARS_MAX } from '../../../functions/mcp/constants.ts'
import { toFailure } from '../../../functions/mcp/tools/failure.ts'
import { fitting, toolResult } from '../../../functions/mcp/tools/result.ts'
import { STATUS_BY_CODE } from '../../../shared/http/wire-error.ts'
import { RemoteError } from '../../../shared/errors.ts'

interface Listed {
  description?: string
  maxLength?: number
  type?: string
  properties?: Record<string, Listed>
  items?: Listed
  maxItems?: number
  enum?: unknown[]
  maximum?: number
}

/** Every text, list and number somewhere in a schema, with where it stands. */
function leaves(schema: Listed, path: string): [string, Listed][] {
  const inner = Object.entries(schema.properties ?? {}).flatMap(([name, field]) =>
    leaves(field, `${path}.${name}`),
  )
  return [[path, schema], ...inner, ...(schema.items ? leaves(schema.items, `${path}[]`) : [])]
}

describe.each(TABLE.tools)('mcp tool $name', ({ name, listed, example, schemas, toolsets }) => {
  it('says all that a client may want to know of it', () => {
    expect(name).toMatch(/^[a-z]+(_[a-z]+)+$/)
    expect(listed.title).toMatch(/^[A-Z]/)
    expect(listed.description).toMatch(/^[A-Z][^]{20,}\.$/)
    expect(Object.keys(listed.annotations ?? {}).toSorted()).toEqual([
      'destructiveHint',
      'idempotentHint',
      'openWorldHint',
      'readOnlyHint',
      'title',
    ])
    expect(toolsets.length).toBeGreaterThan(0)
    expect(listed.outputSchema).toMatchObject({ type: 'object' })
  })

  it('bounds what it takes', () => {
    expect(listed.inputSchema).toMatchObject({ type: 'object', additionalProperties: false })
    for (const [path, field] of leaves(listed.inputSchema as Listed, name)) {
      // Numbers of our own schemas always have an end: that of safe integers, if no other.
      if (field.type === 'string' && !field.enum) {
        expect(field.maxLength, path).toBeGreaterThan(0)
      }
      // One may be anything: its bound is that of all arguments together.
      if (field.type === undefined) expect(field.description, path).toContain('elements')
      if (field.type === 'array') expect(field.maxItems, path).toBeGreaterThan(0)
      if (field.type === 'integer' || field.type === 'number') {
        expect(field.maximum, path).toBeGreaterThan(0)
      }
    }
  })

  it('shows an example that its own schemas take', () => {
    expect(schemas.input.safeParse(example.arguments).error).toBeUndefined()
    expect(schemas.output.strict().safeParse(example.answer).error).toBeUndefined()
  })

  it('only says what it would do unless it is told to do it, where it destroys', () => {
    if (!listed.annotations?.destructiveHint) return
    const { dry_run: dryRun } = schemas.input.shape
    expect(dryRun?.safeParse(undefined)).toMatchObject({ success: true, data: true })
  })
})

describe('mcp results', () => {
  it('are the same JSON as structure and as text, and no larger than fits', () => {
    const { content, structuredContent } = toolResult({ a: 1 })
    expect(structuredContent).toEqual({ a: 1 })
    expect(content).toEqual([{ type: 'text', text: '{"a":1}' }])
    expect(() => toolResult({ a: 'x'.repeat(RESULT_CHARS_MAX) })).toThrow('Ask for less')
  })

  it('cut a page rather than refuse it', () => {
    const items = Array.from({ length: 100 }, (_, index) => `${index} ${'x'.repeat(2_000)}`)
    const page = fitting(items)
    expect(page.length).toBeGreaterThan(1)
    expect(page.length).toBeLessThan(items.length)
    expect(() => toolResult({ page })).not.toThrow()
    expect(fitting(['y'.repeat(RESULT_CHARS_MAX)])).toHaveLength(1)
  })

  it('say of every error what to do next', () => {
    for (const [code, status] of Object.entries(STATUS_BY_CODE)) {
      const { result } = toFailure(new RemoteError(code, status, 'It went wrong.', {}), 'r-1')
      const [first] = result.content
      expect(first, code).toMatchObject({ type: 'text' })
      expect(JSON.stringify(first), code).toMatch(
        new RegExp(`${code}: It went wrong\\..*Next: \\w+`),
      )
      expect(result).toMatchObject({ isError: true })
    }
    const unknown = toFailure(new Error('secret detail'), 'r-1').result
    expect(JSON.stringify(unknown)).not.toContain('secret')
    expect(JSON.stringify(unknown)).toContain('r-1')
  })
})
