import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { substituteEnv } from '../../../shared/function/envsubst.ts'
import { readStackFile } from '../../../shared/function/stack-file.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-stack-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function read(text: string, env: Record<string, string> = {}) {
  const path = join(folder, 'stack.yml')
  await writeFile(path, text)
  return readStackFile(path, env)
}

const HEAD = 'version: 1.0\nprovider: {name: openfaas}\n'
const LEAST = 'lang: node24-ts, handler: ./functions/one, image: one'

describe('envsubst', () => {
  it.each([
    ['a ${X} b', { X: '1' }, 'a 1 b'],
    ['${X}', {}, ''],
    ['${X:-two words}', {}, 'two words'],
    ['${X:-d}', { X: '' }, 'd'],
    ['${X:-d}', { X: '1' }, '1'],
    ['${X:=d}', {}, 'd'],
    ['${X:-http://host:9000}', {}, 'http://host:9000'],
    ['$$ $${X} $X $', { X: '1' }, '$ ${X} $X $'],
    ['${X:-}', {}, ''],
    ['${X}', { X: '${Y}', Y: '2' }, '${Y}'],
  ])('turns %j with %j into %j', (text, env, expected) => {
    expect(substituteEnv(text, env)).toBe(expected)
  })

  it.each(['${X^}', '${X/a/b}', '${#X}', '${X:1:2}', '${X:?no}', '${}', '${1X}'])(
    'refuses %s, which it would get wrong',
    (text) => {
      expect(() => substituteEnv(text, { X: '1' })).toThrow(`uses ${text}, which is not supported`)
    },
  )
})

describe('stack-file', () => {
  it('reads every field it needs, with the defaults of OpenFaaS', async () => {
    const { functions, copy } = await read(`${HEAD}
functions:
  one: {${LEAST}}
  two:
    ${LEAST.replaceAll(', ', '\n    ').replace('/one', '/two')}
    environment: {RETRIES: 3, STRICT: true, NOTHING: null, URL: "\${URL:-http://a:1}"}
    secrets: [key]
    labels: {com.openfaas.scale.max: 3}
    annotations: {bzzz.port: 3001, topic: x}
    limits: {memory: 64Mi, cpu: 1}
    readonly_root_filesystem: true
    constraints: [node.role == worker]
configuration: {copy: [./shared]}
`)
    expect(copy).toEqual(['./shared'])
    expect(functions).toEqual([
      {
        name: 'one',
        lang: 'node24-ts',
        handler: join(folder, 'functions', 'one'),
        image: 'one',
        environment: {},
        secrets: [],
        labels: {},
        annotations: {},
        limits: null,
        requests: null,
        readOnlyRootFilesystem: false,
        port: null,
      },
      expect.objectContaining({
        name: 'two',
        environment: { RETRIES: '3', STRICT: 'true', NOTHING: '', URL: 'http://a:1' },
        secrets: ['key'],
        labels: { 'com.openfaas.scale.max': '3' },
        limits: { memory: '64Mi', cpu: '1' },
        readOnlyRootFilesystem: true,
        port: 3001,
      }),
    ])
  })

  it('lets environment files override what stands inline, the later the more', async () => {
    await writeFile(join(folder, 'a.yml'), 'environment: {A: a, B: a}')
    await writeFile(join(folder, 'b.yml'), 'environment: {B: b}')
    const { functions } = await read(
      `${HEAD}functions: {one: {${LEAST}, environment: {A: 0, C: 0}, environment_file: [a.yml, b.yml]}}`,
    )
    expect(functions[0]?.environment).toEqual({ A: 'a', B: 'b', C: '0' })
  })

  it.each([
    ['a typo in a field', `functions: {one: {${LEAST}, enviroment: {}}}`, 'enviroment'],
    ['a name that is no host name', `functions: {One_: {${LEAST}}}`, 'a DNS label'],
    ['a missing handler', 'functions: {one: {lang: x, image: y}}', 'functions.one.handler'],
    [
      'a port that is none',
      `functions: {one: {${LEAST}, annotations: {bzzz.port: x}}}`,
      'bzzz.port',
    ],
    ['no functions', '', 'functions'],
    ['broken YAML', 'functions: {', 'not valid YAML'],
    ['an alias bomb', bomb(), 'stack.yml'],
    ['too much', `# ${'x'.repeat(1024 * 1024)}`, 'longer than'],
  ])('refuses %s', async (_case, text, mention) => {
    const reading = read(HEAD + text)
    await expect(reading).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
    await expect(reading).rejects.toThrow(mention)
  })

  it('refuses a file that is not there', async () => {
    await expect(readStackFile(join(folder, 'none.yml'), {})).rejects.toMatchObject({
      code: 'BZZZ_CONFIG_INVALID',
    })
  })
})

/** Each level names the one before ten times: 10^9 entries if all were written out. */
function bomb(): string {
  const levels = ['a0: &a0 [x]']
  for (let level = 1; level < 10; level++) {
    levels.push(
      `a${level}: &a${level} [${Array(10)
        .fill(`*a${level - 1}`)
        .join(',')}]`,
    )
  }
  return levels.join('\n')
}
