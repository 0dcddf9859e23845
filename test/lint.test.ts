import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** One offence: the file it is in, its text, the rule that must see it, what it must say. */
interface Offence {
  file: string
  text: string
  rule: string
  says: string
}

const SHARED = 'shared is the foundation and knows none of the parts'
const PART = 'Parts never import each other'
const FUNCTION = 'A function imports from its own folder and from shared/ only'
const PROCESS = 'Only entry points own the process'
const IMPORTS = 'eslint(no-restricted-imports)'
const PROPERTIES = 'eslint(no-restricted-properties)'

/** What the offending files import; it breaks no rule itself. */
const CLEAN: Record<string, string> = {
  'shared/blob/hash.ts': 'export const hash = 1\n',
  'p2p-daemon/store/disk.ts': "export { hash } from '../../shared/blob/hash.ts'\n",
  'p2p-daemon/main.ts': 'process.on("SIGTERM", () => process.exit(Number(process.env["X"])))\n',
  'functions/resolve/noun.ts': "export { hash } from '../../shared/blob/hash.ts'\n",
  'functions/resolve/handler.ts': "export { hash as default } from './noun.ts'\n",
  'functions/mcp/tools/list.ts': 'export const list = 1\n',
  'gateway/proxy/routes.ts': "export { hash } from '../../shared/blob/hash.ts'\n",
  'connector/worker.ts': 'export const worker = 1\n',
  'cli/commands/put.ts': 'export function put(): void {\n  console.log(1)\n}\n',
  'template/node24/index.ts': 'export const port = process.env["PORT"]\n',
  'test/store.test.ts': "export { hash } from '../p2p-daemon/store/disk.ts'\n",
}

const take = (specifier: string): string => `export * from '${specifier}'\n`
const lines = (count: number): string => 'export {}\n'.repeat(count)

const OFFENCES: Record<string, Offence> = {
  'shared imports the daemon': {
    file: 'shared/blob/a.ts',
    text: take('../../p2p-daemon/store/disk.ts'),
    rule: IMPORTS,
    says: SHARED,
  },
  'shared imports a function from its top folder': {
    file: 'shared/b.ts',
    text: take('../functions/resolve/noun.ts'),
    rule: IMPORTS,
    says: SHARED,
  },
  'a function imports the daemon': {
    file: 'functions/resolve/c.ts',
    text: take('../../p2p-daemon/store/disk.ts'),
    rule: IMPORTS,
    says: FUNCTION,
  },
  'a function loads the daemon with import()': {
    file: 'functions/resolve/d.ts',
    text: "export const d = await import('../../p2p-daemon/store/disk.ts')\n",
    rule: IMPORTS,
    says: FUNCTION,
  },
  'a function imports another function': {
    file: 'functions/resolve/e.ts',
    text: take('../mcp/tools/list.ts'),
    rule: IMPORTS,
    says: FUNCTION,
  },
  'a subfolder of a function imports another function': {
    file: 'functions/mcp/tools/f.ts',
    text: take('../../resolve/noun.ts'),
    rule: IMPORTS,
    says: FUNCTION,
  },
  'the daemon imports a function': {
    file: 'p2p-daemon/store/g.ts',
    text: take('../../functions/resolve/noun.ts'),
    rule: IMPORTS,
    says: PART,
  },
  'the gateway imports a function': {
    file: 'gateway/h.ts',
    text: take('../functions/resolve/noun.ts'),
    rule: IMPORTS,
    says: PART,
  },
  'the connector imports the gateway': {
    file: 'connector/i.ts',
    text: take('../gateway/proxy/routes.ts'),
    rule: IMPORTS,
    says: PART,
  },
  'the cli imports the daemon': {
    file: 'cli/commands/j.ts',
    text: take('../../p2p-daemon/store/disk.ts'),
    rule: IMPORTS,
    says: PART,
  },
  'the template imports the gateway': {
    file: 'template/node24/k.ts',
    text: take('../../gateway/proxy/routes.ts'),
    rule: IMPORTS,
    says: PART,
  },
  'source imports a test helper': {
    file: 'p2p-daemon/l.ts',
    text: take('../test/store.test.ts'),
    rule: IMPORTS,
    says: PART,
  },
  'the environment is imported by name': {
    file: 'shared/m.ts',
    text: "import { env } from 'node:process'\nexport const m = env['X']\n",
    rule: IMPORTS,
    says: 'Use the global process, and only in an entry point',
  },
  'a .ts file is imported as .js': {
    file: 'shared/n.ts',
    text: take('./blob/hash.js'),
    rule: IMPORTS,
    says: 'Import the .ts file itself',
  },
  'an import has no extension': {
    file: 'shared/o.ts',
    text: take('./blob/hash'),
    rule: 'import(extensions)',
    says: 'Add a file extension',
  },
  'the environment is read outside an entry point': {
    file: 'p2p-daemon/config.ts',
    text: "export const port = process.env['PORT']\n",
    rule: PROPERTIES,
    says: PROCESS,
  },
  'a handler reads the environment, which its context brings': {
    file: 'functions/other/handler.ts',
    text: "export const url = process.env['DATABASE_URL']\n",
    rule: PROPERTIES,
    says: PROCESS,
  },
  'the environment is taken apart outside an entry point': {
    file: 'p2p-daemon/q.ts',
    text: 'export const { env } = process\n',
    rule: PROPERTIES,
    says: PROCESS,
  },
  'the process is ended outside an entry point': {
    file: 'gateway/r.ts',
    text: 'export const end = (): never => process.exit(1)\n',
    rule: PROPERTIES,
    says: PROCESS,
  },
  'a signal is handled outside an entry point': {
    file: 'shared/s.ts',
    text: "export const listen = (): unknown => process.on('SIGTERM', () => undefined)\n",
    rule: PROPERTIES,
    says: PROCESS,
  },
  'two modules import each other': {
    file: 'shared/cycle-a.ts',
    text: "import { b } from './cycle-b.ts'\nexport const a = (): unknown => b\n",
    rule: 'import(no-cycle)',
    says: 'Refactor',
  },
  'a promise floats': {
    file: 'shared/t.ts',
    text: 'export function t(): void {\n  Promise.resolve(1)\n}\n',
    rule: 'typescript(no-floating-promises)',
    says: 'void',
  },
  'a default export stands outside a handler': {
    file: 'functions/resolve/u.ts',
    text: 'const u = 1\nexport default u\n',
    rule: 'import(no-default-export)',
    says: 'named export',
  },
  'a function is longer than 70 lines': {
    file: 'shared/v.ts',
    text: `export function v(x: number): void {\n${'  x += 1\n'.repeat(70)}}\n`,
    rule: 'eslint(max-lines-per-function)',
    says: 'too many lines',
  },
  'a file is longer than 800 lines': {
    file: 'shared/w.ts',
    text: lines(801),
    rule: 'eslint(max-lines)',
    says: 'too many lines',
  },
  'a const enum is declared': {
    file: 'shared/x.ts',
    text: 'export const enum X {\n  A,\n}\n',
    rule: 'oxc(no-const-enum)',
    says: 'enum',
  },
  'a test is focused': {
    file: 'test/y.test.ts',
    text: "import { it } from 'vitest'\nit.only('runs alone', () => undefined)\n",
    rule: 'vitest(no-focused-tests)',
    says: 'Remove focus',
  },
  'a test is switched off': {
    file: 'test/z.test.ts',
    text: "import { it } from 'vitest'\nit.skip('never runs', () => undefined)\n",
    rule: 'vitest(no-disabled-tests)',
    says: 'skip',
  },
  'a library logs to the console': {
    file: 'shared/zz.ts',
    text: 'export const log = (): void => console.log(1)\n',
    rule: 'eslint(no-console)',
    says: 'console',
  },
}

interface Diagnostic {
  filename: string
  code: string
  message: string
  help?: string
}

/** Lints a folder with our own configuration, as `npm run lint` does. */
async function lint(folder: string): Promise<{ failed: boolean; diagnostics: Diagnostic[] }> {
  const oxlint = join(ROOT, 'node_modules/oxlint/bin/oxlint')
  const args = [oxlint, '--type-aware', '--deny-warnings', '--format', 'json']
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: folder }, (error, stdout) => {
      try {
        const { diagnostics } = JSON.parse(stdout) as { diagnostics: Diagnostic[] }
        resolve({ failed: error !== null, diagnostics })
      } catch {
        reject(new Error(`oxlint did not answer JSON: ${stdout}`, { cause: error }))
      }
    })
  })
}

async function lay(folder: string, files: Record<string, string>): Promise<void> {
  for (const name of ['.gitignore', '.oxlintrc.json', 'tsconfig.json', 'package.json']) {
    await copyFile(join(ROOT, name), join(folder, name))
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  for (const [file, text] of Object.entries(files)) {
    await mkdir(join(folder, dirname(file)), { recursive: true })
    await writeFile(join(folder, file), text)
  }
}

describe('lint', () => {
  let root: string
  let failed: boolean
  let found: Diagnostic[]

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'bzzz-lint-'))
    const clean = join(root, 'clean')
    const offending = join(root, 'offending')
    await mkdir(clean)
    await mkdir(offending)
    await lay(clean, CLEAN)
    const offences = Object.values(OFFENCES).map(({ file, text }) => [file, text] as const)
    const partner = {
      'shared/cycle-b.ts': "import { a } from './cycle-a.ts'\nexport const b = a\n",
    }
    await lay(offending, { ...CLEAN, ...partner, ...Object.fromEntries(offences) })
    ;({ failed, diagnostics: found } = await lint(offending))
  })

  afterAll(() => rm(root, { recursive: true, force: true }))

  it('passes a tree that keeps the rules', async () => {
    expect(await lint(join(root, 'clean'))).toEqual({ failed: false, diagnostics: [] })
  })

  it.each(Object.entries(OFFENCES))('fails when %s', (_, { file, rule, says }) => {
    const here = found.filter((diagnostic) => diagnostic.filename === file)
    const seen = here.find((diagnostic) => diagnostic.code === rule)
    expect(here.map((diagnostic) => diagnostic.code)).toContain(rule)
    expect(`${seen?.message} ${seen?.help ?? ''}`).toContain(says)
  })

  it('fails a tree that does not', () => {
    expect(failed).toBe(true)
  })

  it('blames no file that keeps the rules', () => {
    const blamed = found.map((diagnostic) => diagnostic.filename)
    expect(blamed.filter((file) => file in CLEAN)).toEqual([])
  })
})

describe('types', () => {
  /** Syntax that node cannot strip; it would only fail when the file is first run. */
  const unstrippable: Record<string, string> = {
    enum: 'export enum Colour {\n  Red,\n}\n',
    namespace: 'export namespace Inner {\n  export const x = 1\n}\n',
    'parameter property': 'export class X {\n  constructor(readonly x: number) {}\n}\n',
  }

  it.each(Object.entries(unstrippable))('fail on a %s', async (_, text) => {
    const folder = await mkdtemp(join(tmpdir(), 'bzzz-types-'))
    try {
      await lay(folder, { 'shared/a.ts': text })
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
      const output = await new Promise<string>((resolve) => {
        execFile(process.execPath, [tsc], { cwd: folder }, (_error, stdout) => resolve(stdout))
      })
      expect(output).toContain('shared/a.ts(')
      expect(output).toContain('TS1294')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
