import { cp, readdir, rm } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve } from 'node:path'

/** What `faas-cli build --shrinkwrap` reads of one function of the stack file. */
export interface BuildRequest {
  lang: string
  handler: string
  copy: readonly string[]
}

/** Entries of a handler's folder that faas-cli leaves out. */
const SKIPPED = new Set(['build', 'template'])

/**
 * Lays out a build context as faas-cli does: the old one is removed, the template goes to the
 * root, the handler's folder over `function/`, each copied path to `function/<path>`.
 */
export async function createBuildContext(
  root: string,
  target: string,
  { lang, handler, copy }: BuildRequest,
): Promise<void> {
  await rm(target, { recursive: true, force: true })
  await cp(join(root, 'template', lang), target, { recursive: true })
  for (const entry of await readdir(handler)) {
    if (SKIPPED.has(entry)) continue
    await cp(join(handler, entry), join(target, 'function', entry), { recursive: true })
  }
  for (const path of copy) {
    const source = resolve(root, path)
    const inside = relative(root, source)
    if (inside === '' || inside.startsWith('..') || isAbsolute(inside)) {
      throw new Error(`${path} lies outside the folder of the stack file.`)
    }
    await cp(source, join(target, 'function', inside), { recursive: true })
  }
}
