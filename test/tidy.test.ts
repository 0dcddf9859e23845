import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { LOCKS, missingPlatforms, type Lock } from '../scripts/lock.ts'

/**
 * What the linter cannot see: rules about files as text, and about files that belong together. A
 * rule returns one sentence per offence, `file:line: what to do`, so that a failure is a list of
 * things to correct.
 */
type Rule = (file: string, text: string) => string[]

const ROOT = fileURLToPath(new URL('..', import.meta.url))

const EXACT_VERSION = /^\d+\.\d+\.\d+(-[\w.]+)?$/
const LINE_CHARS_MAX = 100
const FILE_LINES_MAX = 800
/** functions/<name>/<folder>/<file>: the linter's layer rule is written for this depth. */
const FUNCTION_DEPTH_MAX = 4

/** Folders that are not ours or are made by a run; the same as in .gitignore. */
const LEFT_OUT = ['.git', 'node_modules', 'build', 'coverage', '.bzzz']

const list = (): string[] =>
  readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => !LEFT_OUT.includes(entry.name))
    .flatMap((entry) => (entry.isDirectory() ? below(entry.name) : [entry.name]))

function below(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
  const files = entries.filter((entry) => entry.isFile())
  return files.map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
}

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

const isSource = (file: string): boolean => /\.(ts|mjs)$/.test(file)
const isTest = (file: string): boolean => file.endsWith('.test.ts')
const isSuite = (file: string): boolean => file.startsWith('test/suites/')
const isPage = (file: string): boolean => file.endsWith('.md')
const isText = (file: string): boolean =>
  !file.startsWith('test/fixtures/') && /\.(ts|mjs|md|json|ya?ml|sh|sql|conf)$|^[^.]*$/.test(file)

/** One offence for every line that `offends`. */
function eachLine(file: string, text: string, offends: (line: string) => string | null): string[] {
  return text.split('\n').flatMap((line, index) => {
    const what = offends(line)
    return what === null ? [] : [`${file}:${index + 1}: ${what}`]
  })
}

const refuse =
  (pattern: RegExp, what: string): Rule =>
  (file, text) =>
    eachLine(file, text, (line) => (pattern.test(line) ? what : null))

/** A literal up to its end; on a line of a comment a quote is an apostrophe. */
const LITERAL = /(['"`])(?:\\.|(?!\1).)*\1?/g
const COMMENT = /^\s*(\/?\*|\/\/)/

/**
 * The formatter breaks code, and `format:check` holds it to that. What it cannot break is a string,
 * which stays whole so that a message can be searched for, and a URL.
 */
const longLines: Rule = (file, text) =>
  eachLine(file, text, (line) => {
    const broken = COMMENT.test(line)
      ? line.replace(/https?:\S+/, '')
      : line.replaceAll(LITERAL, '')
    if (broken.length <= LINE_CHARS_MAX) return null
    return `${line.length} characters: break the line at ${LINE_CHARS_MAX}`
  })

const longFiles: Rule = (file, text) => {
  const count = text.split('\n').length - 1
  return count > FILE_LINES_MAX ? [`${file}: ${count} lines: split it`] : []
}

const deepFunctions: Rule = (file) =>
  file.startsWith('functions/') && file.split('/').length > FUNCTION_DEPTH_MAX
    ? [`${file}: too deep: a function is one folder with at most one level below`]
    : []

const kebabCase: Rule = (file) =>
  /^[a-z0-9./-]+$/.test(file) ? [] : [`${file}: name the file in kebab-case`]

/** A test expects something itself, or in a suite or helper of test/ that it imports. */
const withoutExpect: Rule = (file, text) => {
  const helpers = [...text.matchAll(/from '(\.[^']+)'/g)]
    .map(([, target = '']) => join(dirname(file), target))
    .filter((path) => path.startsWith('test/') && existsSync(join(ROOT, path)))
  const texts = [text, ...helpers.map(read)]
  return texts.some((one) => /\bexpect[.(]/.test(one)) ? [] : [`${file}: expects nothing`]
}

/** A test is left out inside itself, `context.skip('reason')`: then the run prints the reason. */
const silentSkips = refuse(
  /\b(it|test|describe)\.(skip|only|todo|skipIf|runIf)\b|\bskip\(\)/,
  "leave a test out with context.skip('the reason')",
)

const brokenLinks: Rule = (file, text) =>
  eachLine(file, text, (line) => {
    for (const [, target = ''] of line.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      if (!existsSync(join(ROOT, dirname(file), target))) return `${target} does not exist`
    }
    return null
  })

const jsImports = refuse(
  /(^(import|export|\}).*from |^import |^[^'"]*\bimport\()'\.[^']*\.js'/,
  'import the .ts file itself',
)

/** Written in two parts, so that this file keeps its own rules. */
const UNFINISHED = new RegExp(
  `\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`,
)

const RULES: Record<string, [applies: (file: string) => boolean, rule: Rule]> = {
  'keeps lines short': [isSource, longLines],
  'keeps files short': [isSource, longFiles],
  'keeps functions shallow': [isSource, deepFunctions],
  'names files in kebab-case': [isSource, kebabCase],
  'imports .ts files as .ts': [isSource, jsImports],
  'leaves nothing unfinished': [isText, refuse(UNFINISHED, 'finish it, or write an issue')],
  'names no folder of one machine': [
    isText,
    refuse(/(^|[\s"'`(=:])\/(work|home|Users)\/(?!node\b)[\w-]/, 'a path of one machine'),
  ],
  'expects something in every test file': [isTest, withoutExpect],
  'expects something in every suite': [isSuite, withoutExpect],
  'leaves no test out without a word': [isTest, silentSkips],
  'links to files that exist': [isPage, brokenLinks],
}

interface Package {
  dependencies: Record<string, string>
  optionalDependencies: Record<string, string>
  devDependencies: Record<string, string>
  allowScripts: Record<string, boolean>
}

describe('tidy', () => {
  const files = list()

  it.each(Object.entries(RULES))('%s', (_, [applies, rule]) => {
    const looked = files.filter(applies)
    expect(looked.length).toBeGreaterThan(0)
    expect(looked.flatMap((file) => rule(file, read(file)))).toEqual([])
  })
})

describe('dependencies', () => {
  const manifest = JSON.parse(read('package.json')) as Package
  const { dependencies, optionalDependencies, devDependencies, allowScripts } = manifest
  const all = { ...dependencies, ...optionalDependencies, ...devDependencies }
  const lock = JSON.parse(read('package-lock.json')) as Lock & {
    packages: Record<string, { hasInstallScript?: boolean }>
  }

  it('pins every version exactly', () => {
    const loose = Object.entries(all).filter(([, version]) => !EXACT_VERSION.test(version))
    expect(loose).toEqual([])
  })

  it('has judged every install script', () => {
    const scripted = Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript)
    const names = scripted.map(([location]) =>
      location.slice(location.lastIndexOf('node_modules/') + 13),
    )
    expect(Object.keys(allowScripts).toSorted()).toEqual([...new Set(names)].toSorted())
  })

  it.each(LOCKS)('records no registry host in %s', (name) => {
    expect(read(name)).not.toContain('"resolved": "http')
  })

  it.each(LOCKS)('has every platform in %s: npm run lock', (name) => {
    expect([...missingPlatforms(JSON.parse(read(name)) as Lock).keys()]).toEqual([])
  })

  it('pins the same versions for the image of a function', () => {
    const image = JSON.parse(read('template/node24-ts/package.json')) as Package
    const pinned = Object.keys(image.dependencies).map((name) => [name, all[name]])
    expect(image.dependencies).toEqual(Object.fromEntries(pinned))
  })

  it('installs what package.json pins', () => {
    const installed = Object.keys(all).map((name) => [
      name,
      lock.packages[`node_modules/${name}`]?.version,
    ])
    expect(Object.fromEntries(installed)).toEqual(all)
  })
})

describe('the rules of tidy', () => {
  const offences: [string, Rule, string, string][] = [
    ['a long line', longLines, 'a.ts', `${'x'.repeat(LINE_CHARS_MAX + 1)}\n`],
    [
      'a long comment with an apostrophe',
      longLines,
      'a.ts',
      `// it's ${'x'.repeat(LINE_CHARS_MAX)}\n`,
    ],
    ['a long file', longFiles, 'a.ts', 'x\n'.repeat(FILE_LINES_MAX + 1)],
    ['a deep function', deepFunctions, 'functions/a/b/c/d.ts', ''],
    ['a file name in camel case', kebabCase, 'shared/blobHash.ts', ''],
    ['a .js import', jsImports, 'a.ts', "import { x } from './errors.js'\n"],
    ['a .js import for its effect', jsImports, 'a.ts', "import './errors.js'\n"],
    ['a .js import() at run time', jsImports, 'a.ts', "const x = await import('./errors.js')\n"],
    [
      'a .js import over several lines',
      jsImports,
      'a.ts',
      "import {\n  x,\n} from '../errors.js'\n",
    ],
    ['a test without expect', withoutExpect, 'a.test.ts', "it('does', () => {})\n"],
    ['a skipped test', silentSkips, 'a.test.ts', `it.${'skip'}('does', () => {})\n`],
    ['a skip without a reason', silentSkips, 'a.test.ts', `context.${'skip'}()\n`],
    ['a broken link', brokenLinks, 'docs/A.md', 'See [it](nowhere.md#part).\n'],
    ['an unfinished line', refuse(UNFINISHED, 'x'), 'a.ts', `// ${'TO' + 'DO'} later\n`],
  ]

  it.each(offences)('catch %s', (_, rule, file, text) => {
    expect(rule(file, text)).toHaveLength(1)
  })

  it('pass what keeps them', () => {
    expect(longLines('a.ts', `// https://example.org/${'x'.repeat(LINE_CHARS_MAX)}\n`)).toEqual([])
    expect(longFiles('a.ts', 'x\n'.repeat(FILE_LINES_MAX))).toEqual([])
    expect(deepFunctions('functions/mcp/tools/list.ts', '')).toEqual([])
    expect(longLines('a.ts', `  'it’s ${'x'.repeat(LINE_CHARS_MAX)}',\n`)).toEqual([])
    expect(jsImports('a.ts', "import { x } from './errors.ts'\n")).toEqual([])
    expect(jsImports('a.ts', "import { x } from 'multiformats/hashes.js'\n")).toEqual([])
    expect(silentSkips('a.test.ts', "context.skip('redis-server is not installed')\n")).toEqual([])
    expect(brokenLinks('docs/A.md', 'See [it](../package.json) or [](https://x.y).\n')).toEqual([])
  })
})
