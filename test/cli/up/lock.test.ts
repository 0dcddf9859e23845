import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { layoutOf, type DataLayout } from '../../../cli/up/data-layout.ts'
import { DataFolderLock } from '../../../cli/up/lock.ts'

let layout: DataLayout

beforeEach(async () => {
  layout = layoutOf(await mkdtemp(join(tmpdir(), 'bzzz-lock-')))
})

afterEach(() => rm(layout.root, { recursive: true, force: true }))

const HOLD = `
const { DataFolderLock } = await import(process.env.LOCK_MODULE)
const { layoutOf } = await import(process.env.LAYOUT_MODULE)
await DataFolderLock.acquire(layoutOf(process.env.FOLDER))
process.stdout.write('held')
setInterval(() => {}, 1000)
`

function holdInChild() {
  return spawn(process.execPath, ['--input-type=module', '-e', HOLD], {
    env: {
      ...process.env,
      FOLDER: layout.root,
      LOCK_MODULE: new URL('../../../cli/up/lock.ts', import.meta.url).href,
      LAYOUT_MODULE: new URL('../../../cli/up/data-layout.ts', import.meta.url).href,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

describe('lock', () => {
  it('keeps a second process out and names the first', async () => {
    const child = holdInChild()
    await once(child.stdout, 'data')
    await writeFile(layout.running, JSON.stringify({ pid: child.pid }))
    await expect(DataFolderLock.acquire(layout)).rejects.toMatchObject({
      code: 'BZZZ_DATA_FOLDER_LOCKED',
      message: expect.stringContaining(`process ${child.pid}`) as string,
    })
    child.kill('SIGKILL')
    await once(child, 'exit')
    const lock = await DataFolderLock.acquire(layout)
    lock.release()
  })

  it('is free again after its release and leaves only an empty file', async () => {
    const first = await DataFolderLock.acquire(layout)
    first.release()
    first.release()
    const second = await DataFolderLock.acquire(layout)
    second.release()
    expect(await readdir(layout.root)).toEqual(['lock.db'])
  })
})
