import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { OWNERSHIP_NAME, RULES_MAX } from '../../../p2p-daemon/ownership/constants.ts'
import { Ownership } from '../../../p2p-daemon/ownership/ownership.ts'
import {
  encodePolicy,
  mayWrite,
  parsePolicy,
  type Policy,
} from '../../../p2p-daemon/ownership/policy.ts'
import { InvalidConfigError, InvalidRequestError } from '../../../shared/errors.ts'
import { makeRecord } from '../../helpers/record.ts'

const [a, b] = [createNodeKey(), createNodeKey()]

const APOLLO_IS_OF_A: Policy = { rules: [{ project: 'apollo', authors: [a.peerId] }] }

let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bzzz-ownership-'))
})

afterEach(() => rmSync(dir, { recursive: true }))

async function ownershipWith(policy: Policy, timestampMs: number): Promise<Ownership> {
  const ownership = await Ownership.load(join(dir, 'ownership.json'))
  const record = makeRecord({ address: OWNERSHIP_NAME, timestampMs }, a)
  await ownership.adopt([{ record, policy }])
  return ownership
}

describe('policy', () => {
  it('lets everybody write what no rule speaks of', () => {
    const policy: Policy = {
      rules: [
        { project: 'apollo', authors: [a.peerId] },
        { project: 'apollo', agent: 'reviewer', authors: [b.peerId] },
        { project: 'gem*', agent: 'bot-*', authors: [b.peerId] },
      ],
    }
    const may = (name: string): string =>
      [a, b].map(({ peerId }) => (mayWrite(policy, name, peerId) ? 'yes' : 'no')).join(' ')
    expect(may('bzzz://anyone@zeus/x')).toBe('yes yes')
    expect(may('bzzz://anyone@apollo/x')).toBe('yes no')
    expect(may('bzzz://anyone:lead@apollo:t1/x')).toBe('yes no')
    expect(may('bzzz://reviewer@apollo/x')).toBe('yes yes')
    expect(may('bzzz://bot-1@gemini/x')).toBe('no yes')
    expect(may('bzzz://writer@gemini/x')).toBe('yes yes')
    expect(may(OWNERSHIP_NAME)).toBe('yes yes')
    expect(mayWrite({ rules: [], editors: [b.peerId] }, OWNERSHIP_NAME, a.peerId)).toBe(false)
  })

  it('reads back what it writes and refuses everything else', () => {
    expect(parsePolicy(encodePolicy(APOLLO_IS_OF_A))).toEqual(APOLLO_IS_OF_A)
    const rule = { project: 'apollo', authors: [a.peerId] }
    for (const bad of [
      {},
      { rules: [{ ...rule, authors: [] }] },
      { rules: [{ ...rule, authors: ['walnut'] }] },
      { rules: [{ ...rule, project: 'Apollo' }] },
      { rules: [{ ...rule, project: 'a*b' }] },
      { rules: [{ ...rule, agent: '' }] },
      { rules: [], editors: [] },
      { rules: [], more: 1 },
      { rules: Array.from({ length: RULES_MAX + 1 }, () => rule) },
    ]) {
      expect(() => parsePolicy(Buffer.from(JSON.stringify(bad)))).toThrow(InvalidRequestError)
    }
    expect(() => parsePolicy(Buffer.from('no json'))).toThrow(InvalidRequestError)
    expect(() => parsePolicy(Buffer.from([0xff, 0xfe]))).toThrow(InvalidRequestError)
  })
})

describe('ownership', () => {
  it('allows everything while there is no policy', async () => {
    const ownership = await Ownership.load(join(dir, 'ownership.json'))
    const record = makeRecord({ address: 'bzzz://x@apollo/y' }, b)
    expect(ownership.current()).toBeUndefined()
    expect(ownership.accepts(record, undefined)).toBe(true)
    expect(ownership.mayStand(record)).toBe(true)
  })

  it('judges a record by the policy of its time, on the word of somebody else', async () => {
    const ownership = await ownershipWith(APOLLO_IS_OF_A, 5_000)
    const before = makeRecord({ address: 'bzzz://x@apollo/y', timestampMs: 4_999 }, b)
    const after = makeRecord({ address: 'bzzz://x@apollo/y', timestampMs: 5_000 }, b)
    expect(ownership.allows(before.address, b.peerId)).toBe(false)
    expect(ownership.accepts(before, a.peerId)).toBe(true)
    expect(ownership.mayStand(before)).toBe(true)
    // Its author could write any time into it.
    expect(ownership.accepts(before, b.peerId)).toBe(false)
    expect(ownership.accepts(before, undefined)).toBe(false)
    expect(ownership.accepts(after, a.peerId)).toBe(false)
    expect(ownership.mayStand(after)).toBe(false)
  })

  it('knows the policy again after a restart', async () => {
    const ownership = await ownershipWith(APOLLO_IS_OF_A, 5_000)
    const again = await Ownership.load(join(dir, 'ownership.json'))
    expect(again.versions()).toEqual(ownership.versions())
  })

  it('does not start with a file that was tampered with', async () => {
    await ownershipWith(APOLLO_IS_OF_A, 5_000)
    const path = join(dir, 'ownership.json')
    const text = readFileSync(path, 'utf8')
    for (const bad of ['{', '{"versions":[{}]}', text.replace('5000', '4000')]) {
      writeFileSync(path, bad)
      await expect(Ownership.load(path)).rejects.toBeInstanceOf(InvalidConfigError)
    }
  })
})
