import { describe, expect, it } from 'vitest'

import { clusterRule, parseRules, sharesOf } from '../../../../functions/llm-proxy/limits/rules.ts'

const scope = {
  tokenId: 't-1',
  subject: 'ada',
  project: 'apollo',
  agent: 'coder',
  model: 'gpt-5:mini',
}

function parse(...rules: object[]) {
  return parseRules(JSON.stringify({ rules }))
}

describe('rules', () => {
  it('reads every bound, money in nano-dollars', () => {
    const [rule] = parse({
      ...{ name: 'all', per: 'token', requestsPerMinute: 60, tokensPerMinute: 100_000 },
      ...{ concurrentRequests: 4, usdPerDay: 0.1, usdPerMonth: 12.345678901 },
    })
    expect(rule?.bounds).toEqual({
      ...{ requestsPerMinute: 60, tokensPerMinute: 100_000, concurrentRequests: 4 },
      ...{ nanoUsdPerDay: 100_000_000n, nanoUsdPerMonth: 12_345_678_901n },
    })
  })

  it('counts each token, project and model for itself, and the cluster as one', () => {
    const rules = parse(
      { name: 'a', per: 'token', requestsPerMinute: 1 },
      { name: 'b', per: ['project', 'model'], requestsPerMinute: 1 },
      { name: 'c', per: 'cluster', requestsPerMinute: 1 },
    )
    const keys = sharesOf([...rules, clusterRule(9)], scope).map(({ key }) => key)
    expect(keys).toEqual([
      'a:token=t-1',
      'b:project=apollo:model=gpt-5%3Amini',
      'c',
      'rate-limit-rpm',
    ])
  })

  it('concerns only the calls that it matches', () => {
    const rules = parse(
      { name: 'a', per: 'cluster', match: { model: 'gpt-*' }, requestsPerMinute: 1 },
      { name: 'b', per: 'cluster', match: { project: ['zeus', 'apollo'] }, requestsPerMinute: 1 },
      {
        name: 'c',
        per: 'cluster',
        match: { project: 'apollo', agent: 'tester' },
        requestsPerMinute: 1,
      },
    )
    expect(sharesOf(rules, scope).map(({ key }) => key)).toEqual(['a', 'b'])
    expect(sharesOf(rules, { ...scope, model: 'llama', project: 'hermes' })).toEqual([])
  })

  it.each([
    ['limits nothing', { name: 'a', per: 'token' }],
    ['a name', { name: 'a:b', per: 'token', requestsPerMinute: 1 }],
    ['Invalid', { name: 'a', per: 'planet', requestsPerMinute: 1 }],
    ['small', { name: 'a', per: 'token', requestsPerMinute: -1 }],
    ['usdPerDai', { name: 'a', per: 'token', usdPerDai: 5 }],
  ])('refuses what it cannot mean: %s', (said, rule) => {
    expect(() => parse(rule)).toThrow(said)
  })

  it('refuses two rules of one name', () => {
    const rule = { name: 'a', per: 'token', requestsPerMinute: 1 }
    expect(() => parse(rule, rule)).toThrow('the same name')
  })
})
