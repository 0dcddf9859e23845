import { readdir } from 'node:fs/promises'
import { basename } from 'node:path'
import { describe, expect, it } from 'vitest'
import { PAGES, written } from '../scripts/docs.ts'
import { mismatches as unexplained } from '../scripts/docs/dependencies.ts'
import { mismatches } from '../scripts/docs/errors.ts'

describe('docs', () => {
  it.each(PAGES)('$file is what the code says: npm run docs', async (page) => {
    expect(await written(page)).toBe(await page.render())
  })

  it('lists every module of scripts/docs as a page', async () => {
    const modules = await readdir(new URL('../scripts/docs/', import.meta.url))
    const pages = PAGES.map(({ file }) => basename(file, '.md').toLowerCase())
    expect(pages.toSorted()).toEqual(modules.map((name) => basename(name, '.ts')).toSorted())
  })

  it('gives every error a class, a status and a meaning', () => {
    expect(mismatches()).toEqual([])
  })

  it('gives every dependency a reason', () => {
    expect(unexplained()).toEqual([])
  })
})
