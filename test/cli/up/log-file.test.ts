import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { closeSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { LOG_BYTES_MAX } from '../../../cli/up/constants.ts'
import { LogFollower, openLogFile, readLastWords } from '../../../cli/up/log-file.ts'
import { createOutput } from '../../helpers/command-host.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-log-'))
  path = join(folder, 'part.log')
})

afterEach(() => rm(folder, { recursive: true, force: true }))

describe('log-file', () => {
  it('appends, closed to others, and sets a large file aside', async () => {
    await writeFile(path, 'before\n')
    const append = (text: string) => {
      const fd = openLogFile(path)
      writeSync(fd, text)
      closeSync(fd)
    }
    append('after\n')
    expect(await readFile(path, 'utf8')).toBe('before\nafter\n')
    await truncate(path, LOG_BYTES_MAX + 1)
    append('fresh\n')
    expect(await readFile(path, 'utf8')).toBe('fresh\n')
    expect((await stat(`${path}.1`)).size).toBe(LOG_BYTES_MAX + 1)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  it('gives the last words since the start, bounded', async () => {
    expect(await readLastWords(path, 0)).toBe('')
    await writeFile(path, 'of another run\n')
    const start = (await stat(path)).size
    await appendFile(path, Array.from({ length: 500 }, (_, index) => `line ${index}\n`).join(''))
    const lines = (await readLastWords(path, start)).split('\n')
    expect(lines).toHaveLength(20)
    expect(lines.at(-1)).toBe('line 499')
    await writeFile(path, 'of another run\nthe end\n')
    expect(await readLastWords(path, start)).toBe('the end')
  })

  it('follows what is appended, line by line with the name of the part', async () => {
    const output = createOutput()
    const follower = new LogFollower({ output })
    await writeFile(path, 'old\n')
    follower.follow('walnut', path)
    await appendFile(path, 'one\ntw')
    await expect.poll(() => output.text()).toBe('walnut | one\n')
    await appendFile(path, 'o\n')
    await follower.stop()
    expect(output.text()).toBe('walnut | one\nwalnut | two\n')
  })
})
