import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, describe, expect, it } from 'vitest'

import { startJoinNode, type JoinNode } from '../../helpers/join-node.ts'
import { until } from '../../helpers/mesh.ts'

const HOUR = { lifetimeMs: 3_600_000, reusable: false }
const never = new AbortController().signal

const MDNS_GROUP = '224.0.0.251'

/** The kernel sends it back at once, where there is a network to send it to. */
const MULTICAST_TIMEOUT_MS = 5_000

/** Nobody listens there: the port is reserved. */
const DEAD = '127.0.0.1:1'

const folders: string[] = []
afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })))
})

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'bzzz-discovery-'))
  folders.push(made)
  return made
}

const met = (one: JoinNode, other: JoinNode): Promise<void> =>
  until(
    () => one.mesh.peer(other.peerId) !== undefined && other.mesh.peer(one.peerId) !== undefined,
    'the two to meet',
  )

const listenOf = (node: JoinNode): string[] => [...node.mesh.announced()]

/** Whether a datagram to the group of mDNS comes back to this machine. */
async function hasMulticast(): Promise<boolean> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    socket.bind(0)
    await once(socket, 'listening')
    socket.addMembership(MDNS_GROUP)
    socket.send('anybody?', socket.address().port, MDNS_GROUP)
    await once(socket, 'message', { signal: AbortSignal.timeout(MULTICAST_TIMEOUT_MS) })
    return true
  } catch {
    return false
  } finally {
    socket.close()
  }
}

describe('discovery', () => {
  it('says that no bootstrap node is reached, and reaches it when it is there', async () => {
    const dataDir = await folder()
    const before = await startJoinNode('walnut', { dataDir })
    const listen = listenOf(before)
    const [, port] = /tcp\/(\d+)/.exec(listen[0]!)!
    await before.stop()
    await using ironwood = await startJoinNode('ironwood', {
      mesh: { bootstrap: [`127.0.0.1:${port}`] },
    })
    await ironwood.allowList.add([{ peerId: before.peerId, name: 'walnut' }])
    await until(() => typeof ironwood.mesh.bootstrap()[0]?.lastError === 'string', 'a failure')
    expect(ironwood.mesh.bootstrap()).toMatchObject([
      { peerId: null, connected: false, lastError: expect.stringContaining('ECONNREFUSED') },
    ])
    await using walnut = await startJoinNode('walnut', { dataDir, mesh: { listen } })
    await walnut.allowList.add([{ peerId: ironwood.peerId, name: 'ironwood' }])
    await met(walnut, ironwood)
    expect(ironwood.mesh.bootstrap()).toMatchObject([
      { peerId: walnut.peerId, connected: true, lastError: null },
    ])
  })

  it('finds the mesh again when every bootstrap node is another one', async () => {
    const dataDirs = [await folder(), await folder()]
    const walnut = await startJoinNode('walnut', { dataDir: dataDirs[0]! })
    const ironwood = await startJoinNode('ironwood', { dataDir: dataDirs[1]! })
    await ironwood.joiner.join((await walnut.inviter.invite(HOUR)).invitation, never)
    await met(walnut, ironwood)
    const listen = listenOf(walnut)
    await ironwood.stop()
    await walnut.stop()
    const mesh = { bootstrap: [DEAD] }
    await using again = await startJoinNode('walnut', {
      dataDir: dataDirs[0]!,
      mesh: { ...mesh, listen },
    })
    await using back = await startJoinNode('ironwood', { dataDir: dataDirs[1]!, mesh })
    await met(again, back)
  })

  it('finds members on the local network that no address is known of', async ({ skip }) => {
    skip(!(await hasMulticast()), 'this machine has no network that carries multicast')
    const mesh = { mdns: true, mdnsIntervalMs: 200 }
    await using walnut = await startJoinNode('walnut', { mesh })
    await using ironwood = await startJoinNode('ironwood', { mesh })
    await walnut.allowList.add([{ peerId: ironwood.peerId, name: 'ironwood' }])
    await ironwood.allowList.add([{ peerId: walnut.peerId, name: 'walnut' }])
    await met(walnut, ironwood)
  })
})
