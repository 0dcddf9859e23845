import { mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { InvalidConfigError } from '../../../shared/errors.ts'
import { WatchedFile } from '../../../shared/file/watched-file.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'

let dir: string
let path: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bzzz-watched-'))
  path = join(dir, 'settings.json')
})

afterEach(() => rmSync(dir, { recursive: true }))

function watch(
  more: { absent?: string; onChange?: (value: number) => void; settledMs?: number } = {},
) {
  const parse = (text: string): number => {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'number') throw new Error('no number')
    return value
  }
  const init = { path, what: 'number', parse, pollMs: 10, ...more }
  return new WatchedFile({ log: createSilentLogger() }, init)
}

describe('watched-file', () => {
  it('follows the file, and keeps the last good value while it is bad', async () => {
    writeFileSync(path, '1')
    const seen: number[] = []
    const file = watch({ onChange: (value) => seen.push(value) })
    await file.start()
    expect(file.value).toBe(1)
    writeFileSync(path, '2')
    await expect.poll(() => file.value).toBe(2)
    writeFileSync(path, '"two"')
    await expect.poll(() => file.problem).toContain('no number')
    expect(file.value).toBe(2)
    rmSync(path)
    await expect.poll(() => file.problem).toContain('ENOENT')
    writeFileSync(path, '2')
    await expect.poll(() => file.problem).toBeUndefined()
    expect(seen).toEqual([1, 2])
    await file.stop()
    await file.stop()
  })

  it.each([0, 60_000])('sees a change of the same length and time (%i)', async (settledMs) => {
    const longAgo = new Date(0)
    writeFileSync(path, '1')
    utimesSync(path, longAgo, longAgo)
    const file = watch({ settledMs })
    await file.start()
    for (const value of [2, 3, 4]) {
      writeFileSync(path, String(value))
      utimesSync(path, longAgo, longAgo)
      await expect.poll(() => file.value).toBe(value)
    }
    writeFileSync(`${path}.new`, '5')
    utimesSync(`${path}.new`, longAgo, longAgo)
    renameSync(`${path}.new`, path)
    await expect.poll(() => file.value).toBe(5)
    await file.stop()
  })

  it('refuses to start with what it cannot use', async () => {
    await expect(watch().start()).rejects.toBeInstanceOf(InvalidConfigError)
    writeFileSync(path, '{}')
    await expect(watch({ absent: '7' }).start()).rejects.toThrow(`${path} holds no number`)
  })

  it('takes a file that is not there for what was said', async () => {
    const file = watch({ absent: '7' })
    await file.start()
    expect(file.value).toBe(7)
    writeFileSync(path, '8')
    await expect.poll(() => file.value).toBe(8)
    rmSync(path)
    await expect.poll(() => file.value).toBe(7)
    await file.stop()
  })
})
