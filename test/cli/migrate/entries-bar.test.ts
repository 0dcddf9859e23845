import { PassThrough } from 'node:stream'

import { describe, expect, it } from 'vitest'

import { createEntriesBar } from '../../../cli/migrate/entries-bar.ts'

function terminal() {
  let text = ''
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 120 })
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  return { stream, text: () => text }
}

describe('the bar of entries', () => {
  it('shows how many, how fast and how long still', () => {
    const { stream, text } = terminal()
    const bar = createEntriesBar(stream, 'importing')
    bar.update(300, 0.5)
    bar.stop()
    expect(text()).toMatch(/importing .* 50 %  300 entries {2}\d+\/s {2}\d+ s left/)
  })

  it('counts for the rate only what came since it began', () => {
    const { stream, text } = terminal()
    const bar = createEntriesBar(stream, 'importing', { entries: 300, fraction: 0.5 })
    bar.update(300, 0.5)
    bar.stop()
    expect(text()).toContain('50 %  300 entries  0/s  ')
    expect(text()).not.toContain('s left')
  })

  it('writes nothing where nobody looks', () => {
    const { stream, text } = terminal()
    const bar = createEntriesBar(Object.assign(stream, { isTTY: false }), 'importing')
    bar.update(300, 0.5)
    bar.stop()
    expect(text()).toBe('')
  })
})
