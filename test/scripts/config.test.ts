import { glob } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { describe, expect, it } from 'vitest'
import { z } from 'zod'

import { render, SECTIONS } from '../../scripts/docs/config.ts'

const ROOT = join(import.meta.dirname, '..', '..')

/** Every config.ts of the parts, and the schemas it exports. */
async function findSchemas(): Promise<Map<string, z.ZodObject>> {
  const found = new Map<string, z.ZodObject>()
  const files = glob('{shared,p2p-daemon,functions,gateway,connector,cli}/**/config.ts', {
    cwd: ROOT,
  })
  for await (const file of files) {
    const module = (await import(pathToFileURL(join(ROOT, file)).href)) as Record<string, unknown>
    for (const [name, value] of Object.entries(module)) {
      if (value instanceof z.ZodObject) found.set(`${file} ${name}`, value)
    }
  }
  return found
}

describe('CONFIG.md', () => {
  it('has a section for every configuration there is', async () => {
    const documented = new Set(SECTIONS.map(({ schema }) => schema))
    const found = await findSchemas()
    expect(found.size).toBeGreaterThanOrEqual(SECTIONS.length)
    const missing = [...found].filter(([, schema]) => !documented.has(schema)).map(([name]) => name)
    expect(missing).toEqual([])
  })

  it('writes defaults as one would write them, and none of this machine', () => {
    const text = render()
    expect(text).toContain('| `BZZZ_PUT_BYTES_MAX` | `5GiB` |')
    expect(text).toContain('| `BZZZ_STOP_TIMEOUT` | `4s` |')
    expect(text).toContain('| `exec_timeout` | `30s` |')
    expect(text).toContain('| `BZZZ_TOKEN_KEYS_FILE` | **required** |')
    expect(text).not.toContain(ROOT)
  })
})
