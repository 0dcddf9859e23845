import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, join, relative, resolve } from 'node:path'

import { describe, expect, it } from 'vitest'

import { readGatewayConfig } from '../gateway/config.ts'
import { hostConfigSchema } from '../shared/function/config.ts'
import { parseEnv } from '../shared/config/env.ts'
import { readStackFile } from '../shared/function/stack-file.ts'

const ROOT = join(import.meta.dirname, '..')
const FILE = join(ROOT, 'stack.yml')
const TEXT = readFileSync(FILE, 'utf8')

/** Read without any environment: what the defaults alone make of it. */
const stack = await readStackFile(FILE, {})

/** A name and a value of a label, as Kubernetes takes them. */
const LABEL_NAME =
  /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/
const LABEL_VALUE = /^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$/

/** All annotations of an object together, as Kubernetes takes them. */
const ANNOTATIONS_BYTES_MAX = 256 * 1024

/** Of OpenFaaS's community edition. */
const FUNCTIONS_MAX = 15
const REPLICAS_MAX = 5

/** DNS-1123 subdomain: the name of a secret. */
const SECRET_NAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/

describe('stack.yml', () => {
  it('gives every variable a default', () => {
    const references = [...TEXT.matchAll(/\$\{([^}]*)\}/g)].map(([, reference]) => reference!)
    expect(references.length).toBeGreaterThan(0)
    expect(references.filter((reference) => !/^\w+:-./.test(reference))).toEqual([])
  })

  it('has no more functions than the community edition runs', () => {
    expect(stack.functions.length).toBeLessThanOrEqual(FUNCTIONS_MAX)
  })

  it('names paths inside its folder, relative to it as faas-cli takes them', () => {
    const paths = [...TEXT.matchAll(/^ +(?:handler:|-) +(\.\S*)$/gm)].map(([, path]) => path!)
    expect(paths.length).toBeGreaterThan(stack.functions.length)
    for (const path of paths) {
      const inside = relative(ROOT, resolve(ROOT, path))
      expect(inside !== '' && !inside.startsWith('..') && !isAbsolute(inside), path).toBe(true)
      expect(existsSync(join(ROOT, inside)), path).toBe(true)
    }
  })

  it('takes one port once', () => {
    const ports = stack.functions.flatMap(({ port }) => (port === null ? [] : [port]))
    expect(new Set(ports).size).toBe(ports.length)
  })
})

describe.each(stack.functions)('stack.yml $name', (entry) => {
  it('has a handler, a template and an image with a tag', () => {
    expect(existsSync(join(entry.handler, 'handler.ts'))).toBe(true)
    expect(existsSync(join(ROOT, 'template', entry.lang, 'template.yml'))).toBe(true)
    expect(entry.image).toMatch(/^[-a-z0-9.:/]+\/[-a-z0-9]+:[-\w.]{1,128}$/)
  })

  it('writes nothing, and is bounded in memory and processor', () => {
    expect(entry.readOnlyRootFilesystem).toBe(true)
    for (const bound of [entry.limits, entry.requests]) {
      expect(bound?.memory).toMatch(/^\d+[MG]i$/)
      expect(bound?.cpu).toMatch(/^\d+m$/)
    }
  })

  it('keeps the sizes of labels and annotations, and the replicas of the edition', () => {
    for (const [name, value] of Object.entries(entry.labels)) {
      expect(name).toMatch(LABEL_NAME)
      expect(value).toMatch(LABEL_VALUE)
    }
    const [min, max] = ['min', 'max'].map((end) =>
      Number(entry.labels[`com.openfaas.scale.${end}`]),
    )
    expect(min).toBeGreaterThanOrEqual(1)
    expect(max).toBeGreaterThanOrEqual(min!)
    expect(max).toBeLessThanOrEqual(REPLICAS_MAX)
    for (const name of Object.keys(entry.annotations)) expect(name).toMatch(LABEL_NAME)
    expect(JSON.stringify(entry.annotations).length).toBeLessThan(ANNOTATIONS_BYTES_MAX)
    expect(entry.annotations).toMatchObject({
      'com.openfaas.health.http.path': '/_/health',
      'com.openfaas.ready.http.path': '/_/ready',
    })
  })

  it('is given every secret that its environment points at', () => {
    for (const name of entry.secrets) expect(name).toMatch(SECRET_NAME)
    const used = Object.values(entry.environment).flatMap(
      (value) => /^\/var\/openfaas\/secrets\/(.+)$/.exec(value)?.[1] ?? [],
    )
    expect(entry.secrets).toEqual(expect.arrayContaining(used))
  })

  it('ends a request before the gateway stops waiting for it', () => {
    const { exec_timeout: execTimeoutMs } = parseEnv(hostConfigSchema, entry.environment)
    const gateway = readGatewayConfig({ BZZZ_TOKEN_KEYS_FILE: '/keys.json' })
    expect(execTimeoutMs).toBeGreaterThan(0)
    expect(execTimeoutMs).toBeLessThan(gateway.BZZZ_FUNCTION_TIMEOUT)
  })
})
