/**
 * `npm run docs` writes the pages under docs/ that are drawn from the code. `test/docs.test.ts`
 * fails while one of them is out of date. A page is a module of scripts/docs/ that exports `file`
 * and `render()`; a page that is partly written by hand reads its own file and replaces its parts.
 */
import { readFile, writeFile } from 'node:fs/promises'
import * as addresses from './docs/addresses.ts'
import * as config from './docs/config.ts'
import * as dependencies from './docs/dependencies.ts'
import * as errors from './docs/errors.ts'
import * as mcp from './docs/mcp.ts'
import * as security from './docs/security.ts'

export interface Page {
  /** From the root of the repository: "docs/ERRORS.md". */
  file: string
  render(): string | Promise<string>
}

export const PAGES: readonly Page[] = [addresses, config, dependencies, errors, mcp, security]

/** The text that stands on disk now, or null. */
export async function written(page: Page): Promise<string | null> {
  try {
    return await readFile(new URL(`../${page.file}`, import.meta.url), 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}

if (import.meta.main) {
  for (const page of PAGES) {
    const text = await page.render()
    const changed = text !== (await written(page))
    if (changed) await writeFile(new URL(`../${page.file}`, import.meta.url), text)
    console.log(`${page.file}: ${changed ? 'written' : 'up to date'}`)
  }
}
