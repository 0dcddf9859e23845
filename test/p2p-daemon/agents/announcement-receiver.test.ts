import { describe, expect, it } from 'vitest'

import { AgentRegistry } from '../../../p2p-daemon/agents/agent-registry.ts'
import { AnnouncementReceiver } from '../../../p2p-daemon/agents/announcement-receiver.ts'
import { encodeAnnouncement } from '../../../p2p-daemon/agents/announcement.ts'
import {
  ANNOUNCEMENTS_BURST_MAX,
  ANNOUNCEMENTS_PER_SECOND_MAX,
} from '../../../p2p-daemon/agents/constants.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { agentOf } from '../../helpers/agent-mesh.ts'

function create() {
  const clock = { nowMs: 0 }
  const now = (): number => clock.nowMs
  const registry = new AgentRegistry({ now })
  const heard: string[] = []
  const receiver = new AnnouncementReceiver({
    registry,
    isMember: (peerId) => peerId !== 'stranger',
    metrics: { heard: (result) => void heard.push(result), changed: () => undefined },
    log: createSilentLogger(),
    now,
  })
  const times = { registeredAtMs: 1, leaseMs: 30_000, leftMs: 30_000 }
  const message = (sequence: number): Uint8Array =>
    encodeAnnouncement({
      epoch: 1,
      sequence,
      complete: false,
      agents: [{ ...agentOf(), ...times }],
      withdrawn: [],
    })
  return { receiver, registry, clock, heard, message }
}

describe('announcement receiver', () => {
  it('takes what members say and passes it on', () => {
    const { receiver, registry, message } = create()
    expect(receiver.receive('a', message(1))).toBe('accept')
    expect(registry.ofNode('a')).toHaveLength(1)
  })

  it('takes nothing of strangers and blames nobody for passing it on', () => {
    const { receiver, registry, heard, message } = create()
    expect(receiver.receive('stranger', message(1))).toBe('ignore')
    expect(registry.size).toBe(0)
    expect(heard).toEqual(['stranger'])
  })

  it('passes nothing on that was played back', () => {
    const { receiver, message, heard } = create()
    receiver.receive('a', message(2))
    expect(receiver.receive('a', message(2))).toBe('ignore')
    expect(receiver.receive('a', message(1))).toBe('ignore')
    expect(heard).toEqual(['taken', 'stale', 'stale'])
  })

  it('blames who sends what nobody can read', () => {
    const { receiver, heard } = create()
    expect(receiver.receive('a', Buffer.from('{'))).toBe('reject')
    expect(heard).toEqual(['unreadable'])
  })

  it('hears each node so often and no more', () => {
    const { receiver, clock, heard, message } = create()
    const send = (count: number, from: string): number => {
      const before = heard.filter((result) => result === 'taken').length
      for (let sent = 0; sent < count; sent += 1) receiver.receive(from, message(heard.length))
      return heard.filter((result) => result === 'taken').length - before
    }
    expect(send(10 * ANNOUNCEMENTS_BURST_MAX, 'a')).toBe(ANNOUNCEMENTS_BURST_MAX)
    expect(send(1, 'b')).toBe(1)
    clock.nowMs = 1_000
    expect(send(10 * ANNOUNCEMENTS_BURST_MAX, 'a')).toBe(ANNOUNCEMENTS_PER_SECOND_MAX)
  })
})
