import { describe, expect, it } from 'vitest'
import fc from 'fast-check'

import {
  decodeAnnouncement,
  encodeAnnouncement,
  splitAgents,
  type AnnouncedAgent,
  type Announcement,
} from '../../../p2p-daemon/agents/announcement.ts'
import {
  AGENT_BYTES_MAX,
  AGENTS_PER_NODE_MAX,
  ANNOUNCEMENT_BYTES_MAX,
  SNAPSHOT_BYTES_MAX,
} from '../../../p2p-daemon/agents/constants.ts'
import { MESSAGE_BYTES_MAX } from '../../../p2p-daemon/mesh/constants.ts'
import { ProtocolViolationError } from '../../../shared/errors.ts'
import { agentOf } from '../../helpers/agent-mesh.ts'

/** Inputs to the decoder, of every kind together. */
const CASES = 100_000

function announced(more: Partial<AnnouncedAgent> = {}): AnnouncedAgent {
  return { ...agentOf(), registeredAtMs: 1, leaseMs: 30_000, leftMs: 20_000, ...more }
}

function announcement(more: Partial<Announcement> = {}): Announcement {
  return {
    epoch: 7,
    sequence: 3,
    complete: false,
    agents: [announced()],
    withdrawn: ['tester@apollo'],
    ...more,
  }
}

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

function refuses(bytes: Uint8Array): boolean {
  try {
    decodeAnnouncement(bytes)
    return false
  } catch (error) {
    if (error instanceof ProtocolViolationError) return true
    throw error
  }
}

/** Values that JSON can carry, most of them like something of ours. */
const jsonish = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    fc.constantFrom(null, true, 0, -1, 1.5, 1e300, '', 'a', 'UPPER', '../x', 'a@b', '\u0000'),
    fc.string({ maxLength: 12, unit: 'binary' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.constantFrom('agents', 'name', 'project', 'capabilities', '__proto__', 'leftMs', 'role'),
      tie('value'),
      { maxKeys: 4 },
    ),
  ),
})).value

describe('announcement', () => {
  it('comes back as it went out', () => {
    expect(decodeAnnouncement(encodeAnnouncement(announcement()))).toEqual(announcement())
  })

  it('takes no byte more than a message may have', () => {
    const text = encodeAnnouncement(announcement())
    const padded = (length: number): Buffer =>
      Buffer.concat([text, Buffer.alloc(length - text.length, ' ')])
    expect(refuses(padded(ANNOUNCEMENT_BYTES_MAX))).toBe(false)
    expect(refuses(padded(ANNOUNCEMENT_BYTES_MAX + 1))).toBe(true)
  })

  it.each([
    ['a name in upper case', { name: 'Reviewer' }],
    ['a name that is a path', { name: '../x' }],
    ['a project that is a search', { project: '*' }],
    ['a load over the top', { load: 1.01 }],
    ['an endpoint with a password', { endpoint: 'http://u:p@host/' }],
    ['an endpoint that is none', { endpoint: 'host:80:90' }],
    ['a skill with an escape', { capabilities: { skills: ['\u001b[2J'], models: [], tools: [] } }],
    ['a skill twice', { capabilities: { skills: ['a', 'a'], models: [], tools: [] } }],
    ['too many tools', { capabilities: { skills: [], models: [], tools: range(65) } }],
    ['a lease without end', { leaseMs: 3_600_001 }],
    ['a lease that ended', { leftMs: -1 }],
    ['a description that is too long', { capabilities: longest(AGENT_BYTES_MAX) }],
  ])('refuses %s', (_what, more) => {
    expect(refuses(bytesOf(announcement({ agents: [announced(more as object)] })))).toBe(true)
  })

  it('refuses more agents than a node may have', () => {
    const small = { capabilities: { skills: [], models: [], tools: [] }, endpoint: null }
    const agents = range(AGENTS_PER_NODE_MAX + 1).map((name) => announced({ ...small, name }))
    const init = { bytesMax: SNAPSHOT_BYTES_MAX }
    expect(
      decodeAnnouncement(bytesOf(announcement({ agents: agents.slice(1) })), init),
    ).toBeTruthy()
    expect(() => decodeAnnouncement(bytesOf(announcement({ agents })), init)).toThrow(
      ProtocolViolationError,
    )
  })

  it(`never throws anything but its error, in ${CASES} cases`, () => {
    const whole = encodeAnnouncement(announcement())
    const flipped = fc
      .tuple(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length))
      .map(([at, byte, length]) => {
        const bytes = Buffer.from(whole)
        bytes[at] = byte
        return bytes.subarray(0, length < whole.length / 8 ? length : undefined)
      })
    const replaced = fc
      .tuple(fc.constantFrom('epoch', 'agents', 'withdrawn', 'complete'), jsonish)
      .map(([field, value]) => bytesOf({ ...announcement(), [field]: value }))
    const agent = fc
      .tuple(fc.constantFrom(...Object.keys(announced())), jsonish)
      .map(([field, value]) =>
        bytesOf(announcement({ agents: [{ ...announced(), [field]: value } as AnnouncedAgent] })),
      )
    const garbage = fc.uint8Array({ maxLength: 64 })
    const input = fc.oneof(garbage, flipped, replaced, agent)
    let refused = 0
    fc.assert(
      fc.property(input, (bytes) => {
        if (refuses(bytes)) refused += 1
      }),
      { numRuns: CASES },
    )
    // Neither everything nor nothing: the inputs are near the border.
    expect(refused).toBeGreaterThan(CASES / 4)
    expect(refused).toBeLessThan(CASES)
  })

  it('splits a full node into messages that fit, and its answer fits one', () => {
    const agents = range(AGENTS_PER_NODE_MAX).map((name) =>
      announced({ name, capabilities: longest(AGENT_BYTES_MAX - 300), leftMs: 3_600_000 }),
    )
    const withdrawn = range(AGENTS_PER_NODE_MAX).map((name) => `${name.padEnd(63, 'x')}@apollo`)
    const parts = splitAgents(agents)
    expect(parts.flat()).toEqual(agents)
    for (const part of parts) {
      const bytes = encodeAnnouncement(announcement({ agents: part, withdrawn }))
      expect(bytes.length).toBeLessThanOrEqual(ANNOUNCEMENT_BYTES_MAX)
      expect(decodeAnnouncement(bytes).agents).toEqual(part)
    }
    const snapshot = encodeAnnouncement(announcement({ agents, withdrawn: [], complete: true }))
    expect(snapshot.length).toBeLessThanOrEqual(SNAPSHOT_BYTES_MAX)
    expect(SNAPSHOT_BYTES_MAX).toBeLessThan(MESSAGE_BYTES_MAX)
  })
})

function range(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `n${index}`)
}

/** Skills of about so many bytes as JSON. */
function longest(bytes: number) {
  const skills = range(Math.floor(bytes / 103)).map((name) => name.padEnd(100, 'x'))
  return { skills: skills.slice(0, 64), models: [], tools: [] }
}
