import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { ConfigSource } from '../../../functions/llm-proxy/upstreams/config-source.ts'
import { Router } from '../../../functions/llm-proxy/upstreams/router.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { until } from '../../helpers/mesh.ts'

const log = createSilentLogger()
const baseURL = 'http://127.0.0.1:9/v1'
const coolDown = { failures: 3, time: '2s' }

let folder: string
const routers: Router[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bzzz-router-'))
})

afterEach(async () => {
  await Promise.all(routers.splice(0).map((router) => router.close()))
  rmSync(folder, { recursive: true })
})

function createRouter(config: object): Router {
  const file = join(folder, 'llm.json')
  writeFileSync(file, JSON.stringify(config))
  const init = { file, baseURL, secretsDirs: [] }
  const source = ConfigSource.open({ log }, init)
  const router = new Router({ source, log }, { secretsDirs: [], endpoints: [] })
  routers.push(router)
  return router
}

const names = (router: Router, model = 'm') =>
  router.routes(model).map(({ upstream }) => upstream.name)

describe('llm-proxy: who is asked', () => {
  it('is drawn by weight, and by no weight only as a way out', () => {
    const router = createRouter({
      upstreams: {
        heavy: { baseURL, weight: 3 },
        light: { baseURL, weight: 1 },
        spare: { baseURL, weight: 0 },
      },
    })
    const draws = Array.from({ length: 4000 }, () => names(router))
    const heavy = draws.filter(([first]) => first === 'heavy').length
    // 3,000 with a standard deviation of 27.
    expect(heavy).toBeGreaterThan(2700)
    expect(heavy).toBeLessThan(3300)
    expect(new Set(draws.map((all) => all[2]))).toEqual(new Set(['spare']))
  })

  it('is of the least priority, in the order of the others behind it', () => {
    const router = createRouter({
      upstreams: {
        last: { baseURL, priority: 2 },
        first: { baseURL },
        second: { baseURL, priority: 1 },
      },
    })
    expect(names(router)).toEqual(['first', 'second', 'last'])
  })

  it('has the model, under the name that an alias gives it there', () => {
    const router = createRouter({
      upstreams: {
        one: { baseURL, models: ['gpt-*'] },
        two: { baseURL, models: ['llama3.2:3b'] },
      },
      models: {
        fast: [
          { upstream: 'two', model: 'llama3.2:3b' },
          { upstream: 'one', model: 'gpt-4o-mini', priority: 1 },
        ],
      },
    })
    expect(names(router, 'gpt-4o')).toEqual(['one'])
    expect(names(router, 'llama3.2:3b')).toEqual(['two'])
    expect(() => names(router, 'llama3.2:3bx')).toThrow('The model does not exist')
    expect(router.routes('fast').map(({ model }) => model)).toEqual(['llama3.2:3b', 'gpt-4o-mini'])
  })

  it('cools down after so many failures in a row, and comes first again in time', async () => {
    const router = createRouter({
      upstreams: { first: { baseURL, coolDown }, second: { baseURL, priority: 1 } },
    })
    const { upstream } = router.routes('m')[0]!
    const fail = (times: number): void => {
      for (let time = 0; time < times; time += 1) upstream.failed(null)
    }
    fail(2)
    upstream.succeeded()
    fail(2)
    expect(names(router)).toEqual(['first', 'second'])
    fail(1)
    expect(names(router)).toEqual(['second', 'first'])
    await until(() => names(router)[0] === 'first', 'the first one again')
  })

  it('cools down at once where it says for how long, within reason', () => {
    const router = createRouter({
      upstreams: { first: { baseURL }, second: { baseURL, priority: 1 } },
    })
    const { upstream } = router.routes('m')[0]!
    upstream.failed(86_400_000)
    expect(names(router)).toEqual(['second', 'first'])
    expect(upstream.coolUntilMs - performance.now()).toBeLessThanOrEqual(300_000)
    upstream.succeeded()
    expect(names(router)).toEqual(['first', 'second'])
  })
})
