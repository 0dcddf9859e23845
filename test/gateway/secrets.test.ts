import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'

let gateway: TestGateway
beforeEach(async () => {
  gateway = await startTestGateway()
})
afterEach(() => gateway.stop())

const change = (method: string, body: object) => gateway.system(method, 'secrets', body)

async function names(): Promise<unknown> {
  return (await gateway.system('GET', 'secrets')).json()
}

async function seen(name: string): Promise<unknown> {
  const answer = await fetch(`${gateway.url}/function/echo/secret/${name}`)
  return ((await answer.json()) as { value: unknown }).value
}

describe('gateway secrets', () => {
  it('keeps a secret as a file for its owner alone, and never gives it back', async () => {
    expect(await names()).toEqual([])
    const created = await change('POST', { name: 'api-key', value: 'hunter2' })
    expect(created.status).toBe(201)
    expect(await created.text()).toBe('')
    expect(await names()).toEqual([{ name: 'api-key', namespace: 'openfaas-fn' }])
    const folder = join(gateway.folder, 'data', 'secrets')
    expect(await readFile(join(folder, 'api-key'), 'utf8')).toBe('hunter2')
    expect((await stat(join(folder, 'api-key'))).mode & 0o777).toBe(0o600)
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
    expect(await readdir(folder)).toEqual(['api-key'])
  })

  it('answers as faas-cli needs it for each step of create, replace, update and remove', async () => {
    expect((await change('POST', { name: 'key', value: 'one' })).status).toBe(201)
    const again = await change('POST', { name: 'key', value: 'two' })
    expect(again.status).toBe(409)
    expect(await again.json()).toMatchObject({ error: { code: 'BZZZ_SECRET_EXISTS' } })
    expect((await change('PUT', { name: 'key', value: 'two' })).status).toBe(200)
    expect((await change('PUT', { name: 'other', value: 'x' })).status).toBe(404)
    expect((await change('DELETE', { name: 'key' })).status).toBe(202)
    expect((await change('DELETE', { name: 'key' })).status).toBe(404)
    expect(await names()).toEqual([])
  })

  it('shows functions a secret, and its new value after an update', async () => {
    const bytes = Buffer.from([0x66, 0x6f, 0x6f, 0x0a])
    await change('POST', { name: 'key', rawValue: bytes.toString('base64') })
    expect(await seen('key')).toBe('foo\n')
    await change('PUT', { name: 'key', value: 'bar' })
    expect(await seen('key')).toBe('bar')
    await gateway.restart()
    expect(await seen('key')).toBe('bar')
  })

  it('stands in for the paths that a function in a container has', async () => {
    await change('POST', { name: 'key', value: 'x' })
    const answer = await gateway.system('PUT', 'functions', {
      service: 'echo',
      image: 'registry.example/echo:v1',
      secrets: ['key'],
      envVars: {
        KEY_FILE: '/var/openfaas/secrets/key',
        OTHER_FILE: '/run/secrets/other',
        TRICK_FILE: '/var/openfaas/secrets/../key',
      },
    })
    expect(answer.status).toBe(202)
    const valueOf = async (name: string) =>
      ((await (await fetch(`${gateway.url}/function/echo/env/${name}`)).json()) as Seen).value
    expect(await valueOf('KEY_FILE')).toBe(join(gateway.folder, 'data', 'secrets', 'key'))
    // One that the function is not given, and one that is no path of a secret, stay as they are.
    expect(await valueOf('OTHER_FILE')).toBe('/run/secrets/other')
    expect(await valueOf('TRICK_FILE')).toBe('/var/openfaas/secrets/../key')
  })

  it.each(['../x', '..', 'a/b', 'A', 'a..b', '-a', 'a.tmp', '', 'a\u0000', 'x'.repeat(254)])(
    'refuses the name %j',
    async (name) => {
      for (const method of ['POST', 'PUT', 'DELETE']) {
        expect((await change(method, { name, value: 'x' })).status, method).toBe(400)
      }
    },
  )

  it('refuses what is too large, or no base64, or no JSON', async () => {
    expect((await change('POST', { name: 'a', value: 'x'.repeat(500_001) })).status).toBe(400)
    expect((await change('POST', { name: 'a', rawValue: '%' })).status).toBe(400)
    const headers = { authorization: `Bearer ${gateway.token}` }
    const init = { method: 'POST', body: '{', headers }
    expect((await fetch(`${gateway.url}/system/secrets`, init)).status).toBe(400)
    const large = { ...init, body: `"${'x'.repeat(1024 * 1024)}"` }
    expect((await fetch(`${gateway.url}/system/secrets`, large)).status).toBe(413)
    expect(await names()).toEqual([])
  })

  it('uses those that lie beside the stack file, as faas-cli keeps them', async () => {
    const deployment = { service: 'echo', image: 'registry.example/echo:v1', secrets: ['own'] }
    expect((await gateway.system('PUT', 'functions', deployment)).status).toBe(400)
    await mkdir(join(gateway.folder, '.secrets'))
    await writeFile(join(gateway.folder, '.secrets', 'own'), 'mine')
    expect((await gateway.system('PUT', 'functions', deployment)).status).toBe(202)
    expect(await seen('own')).toBe('mine')
    expect(await names()).toEqual([])
  })

  it('survives two that create the same at once', async () => {
    const both = ['one', 'two'].map((value) => change('POST', { name: 'key', value }))
    const statuses = (await Promise.all(both)).map(({ status }) => status)
    expect(statuses.toSorted((left, right) => left - right)).toEqual([201, 409])
    const value = await seen('key')
    expect(value).toBe(statuses[0] === 201 ? 'one' : 'two')
  })
})

interface Seen {
  value: unknown
}
