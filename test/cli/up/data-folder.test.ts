import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import {
  inspectDataFolder,
  makeDataFolder,
  newMarker,
  writeMarker,
} from '../../../cli/up/data-folder.ts'
import { layoutOf } from '../../../cli/up/data-layout.ts'

let base: string

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'bzzz-folder-'))
})

afterEach(async () => {
  await chmod(base, 0o700)
  await rm(base, { recursive: true, force: true })
})

describe('data-folder', () => {
  it('takes an absent and an empty folder as fresh and makes neither', async () => {
    expect(await inspectDataFolder(join(base, 'a/b'))).toBe(null)
    expect(await inspectDataFolder(base)).toBe(null)
    expect(await readdir(base)).toEqual([])
  })

  it('knows the folder again once it has a marker', async () => {
    await writeMarker(layoutOf(base), { ...newMarker(), nodes: 5, later: 'kept' })
    expect(await inspectDataFolder(base)).toMatchObject({ format: 1, nodes: 5, later: 'kept' })
  })

  it('takes what a crash before the marker leaves as fresh', async () => {
    await writeFile(join(base, 'lock.db'), '')
    await writeFile(join(base, 'bzzz.json.tmp'), '{"for')
    expect(await inspectDataFolder(base)).toBe(null)
  })

  it('refuses a folder with the files of somebody else', async () => {
    await writeFile(join(base, 'thesis.txt'), 'mine')
    await expect(inspectDataFolder(base)).rejects.toMatchObject({
      code: 'BZZZ_DATA_FOLDER_FOREIGN',
      message: `${base} holds other files and was not made by bzzz: name an empty or a new folder with --data.`,
    })
    expect(await readdir(base)).toEqual(['thesis.txt'])
  })

  it('refuses a marker that it cannot read rather than starting afresh', async () => {
    await writeFile(join(base, 'bzzz.json'), '')
    await expect(inspectDataFolder(base)).rejects.toMatchObject({
      code: 'BZZZ_DATA_FOLDER_FOREIGN',
    })
  })

  it('refuses a folder of a newer format and names who wrote it', async () => {
    const marker = { format: 2, createdBy: '3.1.4', createdAt: '2030-01-01T00:00:00Z' }
    await writeFile(join(base, 'bzzz.json'), JSON.stringify(marker))
    await expect(inspectDataFolder(base)).rejects.toMatchObject({
      code: 'BZZZ_DATA_FOLDER_NEWER',
      message: expect.stringContaining('3.1.4') as string,
    })
  })

  it('refuses a file where a folder should be, also above it', async () => {
    await writeFile(join(base, 'file'), '')
    const expected = { code: 'BZZZ_DATA_FOLDER_UNWRITABLE' }
    await expect(inspectDataFolder(join(base, 'file'))).rejects.toMatchObject(expected)
    await expect(inspectDataFolder(join(base, 'file/below'))).rejects.toMatchObject(expected)
  })

  it('refuses a folder that it may not write to', async () => {
    // Permissions do not stop root; the kernel's own file system does.
    const isRoot = process.getuid?.() === 0
    const closed = isRoot ? '/proc/bzzz-test' : join(base, 'closed')
    if (!isRoot) await mkdir(closed, { mode: 0o500 })
    for (const path of [closed, join(closed, 'new')]) {
      const attempt = inspectDataFolder(path).then(() => makeDataFolder(path))
      await expect(attempt).rejects.toMatchObject({ code: 'BZZZ_DATA_FOLDER_UNWRITABLE' })
    }
  })
})
