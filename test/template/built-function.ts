import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

import { createBuildContext, type BuildRequest } from './build-context.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const run = promisify(execFile)

/**
 * What the image denies the process as well: it may write no file, start no process and no thread.
 * Code of native packages is let in, as in the image.
 */
const READ_ONLY = ['--permission', '--allow-fs-read=*', '--allow-addons', '--no-warnings']

export interface Built {
  context: string
  /** Holds what the image holds, and nothing else. */
  empty: string
}

/** Builds as the image does, with the installed packages in the place of `npm ci`. */
export async function buildFunction(
  folder: string,
  request: BuildRequest & { name: string },
): Promise<Built> {
  const context = join(folder, 'build', request.name)
  await createBuildContext(ROOT, context, request)
  await symlink(join(ROOT, 'node_modules'), join(context, 'node_modules'))
  await run(process.execPath, ['build.ts'], { cwd: context })
  const empty = join(folder, 'run', request.name)
  await cp(join(context, 'dist'), empty, { recursive: true })
  return { context, empty }
}

export interface StartedFunction {
  child: ChildProcess
  exited: Promise<number | null>
  url: string
}

/** Starts what was built as the image does, with nothing of this process's environment. */
export async function startBuilt(
  empty: string,
  env: Record<string, string>,
): Promise<StartedFunction> {
  const child = spawn(process.execPath, [...READ_ONLY, 'index.mjs'], {
    cwd: empty,
    env: { port: '0', BZZZ_HOST: '127.0.0.1', healthcheck_interval: '0', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  const lines: string[] = []
  const port = new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stderr! }).on('line', (line) => {
      lines.push(line)
      if (line.includes('function serving')) resolve((JSON.parse(line) as { port: number }).port)
    })
    void exited.then((code) => reject(new Error(`exited with ${code}:\n${lines.join('\n')}`)))
  })
  return { child, exited, url: `http://127.0.0.1:${await port}` }
}
