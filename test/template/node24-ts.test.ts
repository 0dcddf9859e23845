import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { createTokenKey } from '../../shared/auth/token.ts'
import { readStackFile, type Stack, type StackFunction } from '../../shared/function/stack-file.ts'
import { VERSION } from '../../shared/version.ts'
import { createBuildContext } from './build-context.ts'
import { buildFunction, startBuilt, type Built } from './built-function.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const run = promisify(execFile)
const stack: Stack = await readStackFile(join(ROOT, 'stack.yml'), {})

/** A route of each function that asks for a token. */
const GUARDED: Readonly<Record<string, [method: string, path: string]>> = {
  resolve: ['GET', '/agent@apollo/plan.md'],
  mcp: ['POST', '/mcp'],
  jobs: ['GET', '/a-job'],
  maintenance: ['POST', '/'],
  threads: ['GET', '/v1/threads'],
  'migrate-v1': ['GET', '/imports'],
  'llm-proxy': ['GET', '/v1/models'],
}

let folder: string
const children: ChildProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-template-'))
  const keys = await createTokenKey()
  await writeFile(join(folder, 'token-keys.json'), JSON.stringify(keys.publicKeys))
})

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await rm(folder, { recursive: true })
})

const builds = new Map<string, Promise<Built>>()

/** Built once for all tests of it: every function of the stack file takes seconds. */
function bundle(entry: StackFunction): Promise<Built> {
  const { name } = entry
  const build = builds.get(name) ?? buildFunction(folder, { ...entry, copy: stack.copy })
  builds.set(name, build)
  return build
}

describe('node24-ts', () => {
  it.each(stack.functions)(
    'builds $name into something that runs alone',
    async (entry) => {
      const { empty } = await bundle(entry)
      expect(await readdir(empty)).toContain('index.mjs')
      const { child, exited, url } = await startBuilt(empty, {
        ...entry.environment,
        OPENFAAS_NAME: entry.name,
        BZZZ_TOKEN_KEYS_FILE: join(folder, 'token-keys.json'),
        BZZZ_ENDPOINT: 'http://127.0.0.1:9',
        BZZZ_LOG_LEVEL: 'info',
      })
      children.push(child)
      expect((await fetch(`${url}/_/health`)).status).toBe(200)
      const ready = await fetch(`${url}/_/ready`)
      expect(await ready.json()).toMatchObject({ draining: false })
      const metrics = await (await fetch(`${url}/metrics`)).text()
      expect(metrics).toContain(`component="${entry.name}",version="${VERSION}"`)
      const { port } = new URL(url)
      expect(await healthcheck(port)).toBe(0)
      // Nothing is served to a stranger: the handler of the stack file is what runs here.
      const [method, path] = GUARDED[entry.name] ?? ['GET', '/']
      const answer = await fetch(url + path, { method })
      expect(answer.status).toBe(401)
      expect(await answer.text()).toContain('BZZZ_TOKEN_MISSING')
      child.kill('SIGTERM')
      expect(await exited).toBe(0)
    },
    30_000,
  )

  it.each(stack.functions)(
    'installs every package that $name imports',
    async (entry) => {
      const { context } = await bundle(entry)
      const { dependencies } = await readPackage(join(context, 'package.json'))
      const { inputs } = JSON.parse(
        await readFile(join(context, 'workspace', 'meta.json'), 'utf8'),
      ) as { inputs: Record<string, { imports: { original?: string; path: string }[] }> }
      const ours = Object.entries(inputs).filter(([path]) => !path.includes('node_modules'))
      const imported = ours.flatMap(([, { imports }]) => imports.map((i) => i.original ?? i.path))
      const packages = imported
        .filter((name) => !/^[./]/.test(name) && name !== 'bzzz-function')
        .filter((name) => !name.startsWith('node:') && !builtinModules.includes(name))
        .map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)![0])
      expect(packages).toContain('fastify')
      expect(Object.keys(dependencies)).toEqual(expect.arrayContaining(packages))
    },
    30_000,
  )

  it('needs neither root nor a shell', async () => {
    const lines = (await readDockerfile()).split('\n').filter((line) => line !== '')
    expect(lines.at(-1)).toBe('CMD ["node", "index.mjs"]')
    expect(lines.filter((line) => line.startsWith('USER'))).toEqual(['USER 1000:1000'])
    const finalStage = lines.slice(lines.findLastIndex((line) => line.startsWith('FROM')))
    expect(finalStage.filter((line) => line.startsWith('RUN'))).toEqual([])
  })

  it('refuses a context without the shared folder, and names the remedy', async () => {
    const context = join(folder, 'build', 'without-shared')
    const handler = join(folder, 'handler')
    await mkdir(handler)
    await writeFile(join(handler, 'handler.ts'), 'export default async () => {}')
    await createBuildContext(ROOT, context, { lang: 'node24-ts', handler, copy: [] })
    await symlink(join(ROOT, 'node_modules'), join(context, 'node_modules'))
    await expect(run(process.execPath, ['build.ts'], { cwd: context })).rejects.toThrow(
      'The stack file must copy ./shared',
    )
  })

  it('pins the versions that the repository is tested with', async () => {
    const template = await readPackage(join(ROOT, 'template', 'node24-ts', 'package.json'))
    const root = await readPackage(join(ROOT, 'package.json'))
    const tested = { ...root.dependencies, ...root.devDependencies }
    expect(template.version).toBe(root.version)
    for (const [name, version] of Object.entries(template.dependencies)) {
      expect(version, name).toBe(tested[name])
    }
    const lock = JSON.parse(
      await readFile(join(ROOT, 'template', 'node24-ts', 'package-lock.json'), 'utf8'),
    ) as { packages: { '': { dependencies: Record<string, string> } } }
    expect(lock.packages[''].dependencies).toEqual(template.dependencies)
  })
})

function readDockerfile(): Promise<string> {
  return readFile(join(ROOT, 'template', 'node24-ts', 'Dockerfile'), 'utf8')
}

/** Runs the health check of the image against a function on this machine. */
async function healthcheck(port: string): Promise<number | null> {
  const [, command] = /^HEALTHCHECK [^]*?CMD (\[.*\])$/m.exec(await readDockerfile()) ?? []
  const [program, ...args] = JSON.parse(command ?? '[]') as string[]
  expect(program).toBe('node')
  const child = spawn(process.execPath, args, { env: { port }, stdio: 'ignore' })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code
}

interface Package {
  version: string
  dependencies: Record<string, string>
  devDependencies?: Record<string, string>
}

async function readPackage(path: string): Promise<Package> {
  return JSON.parse(await readFile(path, 'utf8')) as Package
}
