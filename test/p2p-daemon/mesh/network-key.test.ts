import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { NetworkKey } from '../../../p2p-daemon/mesh/network-key.ts'
import { parseInvitation } from '../../../shared/invitation/invitation.ts'
import { MiB } from '../../../shared/limits.ts'
import { startJoinNode, type JoinNode } from '../../helpers/join-node.ts'
import { until } from '../../helpers/mesh.ts'

const HOUR = { lifetimeMs: 3_600_000, reusable: true }
const never = new AbortController().signal
const newKey = (): string => randomBytes(32).toString('hex')

async function refused(node: JoinNode): Promise<boolean> {
  return /connects_total\{result="wrong_key"\} [1-9]/.test(await node.registry.metrics())
}

describe('network key', () => {
  it('comes with the invitation, and stays over a restart', async () => {
    const networkKey = newKey()
    await using walnut = await startJoinNode('walnut', { networkKey })
    await using ironwood = await startJoinNode('ironwood')
    const { invitation } = await walnut.inviter.invite(HOUR)
    expect(parseInvitation(invitation).networkKey).toBe(networkKey)
    const joined = await ironwood.joiner.join(invitation, never)
    expect(joined.connected).toBe(true)
    expect((await NetworkKey.load(ironwood.dataDir)).hex).toBe(networkKey)
    const file = await readFile(join(ironwood.dataDir, 'config', 'network.key'), 'utf8')
    expect(file).toBe(`/key/swarm/psk/1.0.0/\n/base16/\n${networkKey}\n`)
  })

  it('carries more than a connection buffers, with TLS and yamux inside', async () => {
    const networkKey = newKey()
    await using walnut = await startJoinNode('walnut', { networkKey })
    await using ironwood = await startJoinNode('ironwood')
    await ironwood.joiner.join((await walnut.inviter.invite(HOUR)).invitation, never)
    const sent = randomBytes(1 * MiB - 64)
    // Each comes back as the refusal of a protocol that does not know it; the way there counts.
    for (let round = 0; round < 24; round += 1) {
      const asked = ironwood.mesh.request(walnut.peerId, '/bzzz/membership/1.0.0', sent)
      await expect(asked).rejects.toMatchObject({ code: 'BZZZ_PROTOCOL_VIOLATION' })
    }
    expect(ironwood.mesh.peer(walnut.peerId)).toBeDefined()
  })

  it.each([
    ['another', newKey()],
    ['none', undefined],
  ])('keeps out a member that has %s, and counts it', async (_what, otherKey) => {
    await using walnut = await startJoinNode('walnut', { networkKey: newKey() })
    const { port } = /tcp\/(?<port>\d+)/.exec(walnut.mesh.addresses()[0]!)!.groups!
    await using ironwood = await startJoinNode('ironwood', {
      ...(otherKey !== undefined && { networkKey: otherKey }),
      mesh: { bootstrap: [`127.0.0.1:${port}`] },
    })
    await walnut.allowList.add([{ peerId: ironwood.peerId, name: 'ironwood' }])
    await ironwood.allowList.add([{ peerId: walnut.peerId, name: 'walnut' }])
    await until(() => refused(walnut), 'the connection to be refused')
    expect(walnut.mesh.peers()).toEqual([])
    expect(ironwood.mesh.peers()).toEqual([])
  })

  it('that was configured is not replaced by an invitation', async () => {
    await using walnut = await startJoinNode('walnut', { networkKey: newKey() })
    await using ironwood = await startJoinNode('ironwood', { networkKey: newKey() })
    const { invitation } = await walnut.inviter.invite(HOUR)
    await expect(ironwood.joiner.join(invitation, never)).rejects.toMatchObject({
      code: 'BZZZ_NETWORK_KEY_CONFLICT',
    })
    expect(walnut.allowList.peerIds()).toEqual([])
  })

  it('is refused when it is none', async () => {
    await expect(NetworkKey.load('/nowhere', 'abc')).rejects.toMatchObject({
      code: 'BZZZ_CONFIG_INVALID',
    })
  })
})
