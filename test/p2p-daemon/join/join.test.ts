import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { multiaddr } from '@multiformats/multiaddr'
import { afterEach, describe, expect, it } from 'vitest'

import { createHost } from '../../../p2p-daemon/mesh/host.ts'
import { createNAT, NAT_OFF } from '../../../p2p-daemon/mesh/nat.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { formatInvitation, parseInvitation } from '../../../shared/invitation/invitation.ts'
import { startJoinNode, type JoinNode } from '../../helpers/join-node.ts'
import { until } from '../../helpers/mesh.ts'

const HOUR = { lifetimeMs: 3_600_000, reusable: false }
const never = new AbortController().signal
const PAST = new Date(Date.now() - 60_000).toISOString()

const folders: string[] = []
afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })))
})

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'bzzz-join-'))
  folders.push(made)
  return made
}

const sees = (node: JoinNode, other: JoinNode): boolean =>
  node === other || node.mesh.peer(other.peerId) !== undefined

const meshed = (nodes: readonly JoinNode[]): Promise<void> =>
  until(
    () => nodes.every((node) => nodes.every((other) => sees(node, other))),
    'everybody to see everybody',
  )

const join1 = (node: JoinNode, invitation: string) => node.joiner.join(invitation, never)

/** As in the file of the node that gave it out, but for the time. */
async function expire(node: JoinNode, id: string): Promise<void> {
  const path = join(node.dataDir, 'config', 'invitations.json')
  const file = JSON.parse(await readFile(path, 'utf8')) as { invitations: { id: string }[] }
  const invitations = file.invitations.map((other) =>
    other.id === id ? { ...other, expiresAt: PAST } : other,
  )
  await writeFile(path, JSON.stringify({ invitations }))
}

describe('join by invitation', () => {
  it('makes three nodes that knew nobody a full mesh with two invitations', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    await using acacia = await startJoinNode('acacia')
    const first = await walnut.inviter.invite(HOUR)
    const joined = await join1(ironwood, first.invitation)
    expect(joined).toMatchObject({ through: { name: 'walnut' }, connected: true })
    // Any member invites, not only the first.
    const second = await ironwood.inviter.invite(HOUR)
    await join1(acacia, second.invitation)
    await meshed([walnut, ironwood, acacia])
    const names = acacia.nodes.admissions.members().map(({ name }) => name)
    expect(names.toSorted()).toEqual(['acacia', 'ironwood', 'walnut'])
  })

  it('lets the tokens of the cluster count on the new node, and its own go on', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    await join1(ironwood, (await walnut.inviter.invite(HOUR)).invitation)
    const verify = await createKeyFileVerifier(ironwood.tokens.keysFile)
    await expect(verify(await walnut.tokens.create())).resolves.toMatchObject({ role: 'admin' })
    await expect(verify(await ironwood.tokens.create())).resolves.toMatchObject({ role: 'admin' })
    // Not the other way round: who is invited gets no rights over who was here before.
    const other = await createKeyFileVerifier(walnut.tokens.keysFile)
    await expect(other(await ironwood.tokens.create())).rejects.toThrow('not one of this cluster')
  })

  it('tells a member that was away meanwhile', async () => {
    const dataDir = await folder()
    await using walnut = await startJoinNode('walnut')
    const before = await startJoinNode('ironwood', { dataDir })
    await join1(before, (await walnut.inviter.invite(HOUR)).invitation)
    await before.stop()
    await using acacia = await startJoinNode('acacia')
    await join1(acacia, (await walnut.inviter.invite(HOUR)).invitation)
    await using ironwood = await startJoinNode('ironwood', { dataDir })
    await meshed([walnut, ironwood, acacia])
  })

  it('does not take back who was removed while a member was away', async () => {
    const dataDir = await folder()
    await using walnut = await startJoinNode('walnut')
    await using acacia = await startJoinNode('acacia')
    const before = await startJoinNode('ironwood', { dataDir })
    await join1(before, (await walnut.inviter.invite(HOUR)).invitation)
    await join1(acacia, (await walnut.inviter.invite(HOUR)).invitation)
    await meshed([walnut, before, acacia])
    await before.stop()
    await walnut.nodes.remove(acacia.peerId, { force: true })
    await using ironwood = await startJoinNode('ironwood', { dataDir })
    await until(() => !ironwood.allowList.has(acacia.peerId), 'ironwood to be told')
    expect(walnut.allowList.has(acacia.peerId)).toBe(false)
    expect(sees(ironwood, walnut)).toBe(true)
  })

  it('joins once more without harm, as when the answer was lost', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    const { invitation } = await walnut.inviter.invite(HOUR)
    await join1(ironwood, invitation)
    await expect(join1(ironwood, invitation)).resolves.toMatchObject({ connected: true })
    expect(walnut.nodes.admissions.members()).toHaveLength(2)
  })
})

describe('an invitation that is no good', () => {
  it('was used by another node', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    await using acacia = await startJoinNode('acacia')
    const { invitation } = await walnut.inviter.invite(HOUR)
    await join1(ironwood, invitation)
    await expect(join1(acacia, invitation)).rejects.toMatchObject({
      code: 'BZZZ_INVITATION_USED',
      message: 'The invitation was already used by ironwood.',
    })
    expect(walnut.allowList.has(acacia.peerId)).toBe(false)
    expect(acacia.allowList.peerIds()).toEqual([])
  })

  it('lets several in when it is reusable, and two at once only once when it is not', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    await using acacia = await startJoinNode('acacia')
    const single = await walnut.inviter.invite(HOUR)
    const both = [ironwood, acacia].map((node) => join1(node, single.invitation))
    const outcomes = (await Promise.allSettled(both)).map(({ status }) => status)
    expect(outcomes.toSorted()).toEqual(['fulfilled', 'rejected'])
    const several = await walnut.inviter.invite({ ...HOUR, reusable: true })
    for (const node of [ironwood, acacia]) await join1(node, several.invitation)
    await meshed([walnut, ironwood, acacia])
  })

  it('was used by the node that was removed since', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    const { invitation } = await walnut.inviter.invite(HOUR)
    await join1(ironwood, invitation)
    await walnut.nodes.remove(ironwood.peerId, { force: true })
    await until(() => ironwood.mesh.peers().length === 0, 'the removed node to be cut off')
    await expect(join1(ironwood, invitation)).rejects.toMatchObject({
      code: 'BZZZ_INVITATION_USED',
    })
  })

  it('has expired, whether or not the door is still open for others', async () => {
    const dataDir = await folder()
    const before = await startJoinNode('walnut', { dataDir })
    const old = await before.inviter.invite(HOUR)
    await expire(before, old.id)
    const [, port] = /tcp\/(\d+)/.exec(before.mesh.addresses()[0]!)!
    await before.stop()
    const listen = [`/ip4/127.0.0.1/tcp/${port}`]
    await using walnut = await startJoinNode('walnut', { dataDir, mesh: { listen } })
    await using ironwood = await startJoinNode('ironwood')
    const invitation = formatInvitation({ ...parseInvitation(old.invitation), expiresAt: PAST })
    const expired = { code: 'BZZZ_INVITATION_EXPIRED' }
    await expect(join1(ironwood, invitation)).rejects.toMatchObject(expired)
    await walnut.inviter.invite(HOUR)
    await expect(join1(ironwood, invitation)).rejects.toMatchObject(expired)
    // Whoever changes the time in the line gains nothing by it.
    await expect(join1(ironwood, old.invitation)).rejects.toMatchObject(expired)
  })

  it('has another secret, or was withdrawn, or is for another node', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    const { id, invitation } = await walnut.inviter.invite(HOUR)
    const parsed = parseInvitation(invitation)
    const invalid = { code: 'BZZZ_INVITATION_INVALID' }
    const secret = Buffer.alloc(32).toString('base64url')
    await expect(join1(ironwood, formatInvitation({ ...parsed, secret }))).rejects.toMatchObject(
      invalid,
    )
    const inviter = { ...parsed.inviter, peerId: createNodeKey().peerId }
    await expect(join1(ironwood, formatInvitation({ ...parsed, inviter }))).rejects.toMatchObject(
      invalid,
    )
    expect(await walnut.inviter.withdraw(id)).toBe(true)
    await expect(join1(ironwood, invitation)).rejects.toMatchObject(invalid)
    expect(walnut.allowList.peerIds()).toEqual([])
  })

  it('is for a cluster that has a node of that name, and is not used up by it', async () => {
    await using walnut = await startJoinNode('walnut')
    await using namesake = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    const { invitation } = await walnut.inviter.invite(HOUR)
    await expect(join1(namesake, invitation)).rejects.toMatchObject({
      code: 'BZZZ_NODE_NAME_TAKEN',
    })
    await join1(ironwood, invitation)
    await meshed([walnut, ironwood])
  })

  it('is for another cluster than the node belongs to', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    await using elsewhere = await startJoinNode('elsewhere')
    await join1(ironwood, (await walnut.inviter.invite(HOUR)).invitation)
    const { invitation } = await elsewhere.inviter.invite(HOUR)
    await expect(join1(ironwood, invitation)).rejects.toMatchObject({
      code: 'BZZZ_NODE_ALREADY_MEMBER',
    })
    expect(elsewhere.allowList.peerIds()).toEqual([])
  })

  it('leads to nobody', async () => {
    await using ironwood = await startJoinNode('ironwood')
    const walnut = await startJoinNode('walnut')
    const { invitation } = await walnut.inviter.invite(HOUR)
    await walnut.stop()
    await rm(walnut.dataDir, { recursive: true })
    await expect(join1(ironwood, invitation)).rejects.toMatchObject({
      code: 'BZZZ_PEER_UNREACHABLE',
    })
  })
})

describe('join by address', () => {
  it('needs a member that has listed the node, and makes it one everywhere', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood')
    await using acacia = await startJoinNode('acacia')
    await join1(ironwood, (await walnut.inviter.invite(HOUR)).invitation)
    await walnut.nodes.admissions.admit({ peerId: acacia.peerId, name: 'acacia' })
    await until(() => ironwood.allowList.has(acacia.peerId), 'ironwood to be told')
    const [address] = ironwood.mesh.addresses()
    const joined = await acacia.joiner.join(address!, never)
    expect(joined.through.name).toBe('ironwood')
    await meshed([walnut, ironwood, acacia])
  })

  it('says how the other side lets the node in, and leaves no trace', async () => {
    await using walnut = await startJoinNode('walnut')
    await using ironwood = await startJoinNode('ironwood', { connectedTimeoutMs: 1_000 })
    const [address] = walnut.mesh.addresses()
    await expect(ironwood.joiner.join(address!, never)).rejects.toThrow(
      `bzzz node allow ${ironwood.peerId} ironwood`,
    )
    expect(ironwood.allowList.peerIds()).toEqual([])
    await expect(ironwood.joiner.join('walnut:9101', never)).rejects.toMatchObject({
      code: 'BZZZ_REQUEST_INVALID',
    })
  })
})

describe('a stranger', () => {
  it('gets no connection, not even while the door is open', async () => {
    await using walnut = await startJoinNode('walnut')
    await walnut.inviter.invite(HOUR)
    const nodeKey = createNodeKey()
    const base = {
      nodeKey,
      announce: [],
      connectionGater: {},
      services: new Map(),
      nat: createNAT(NAT_OFF),
    }
    const stranger = await createHost({ ...base, listen: [] })
    await stranger.start()
    try {
      const dialled = stranger.dial(multiaddr(walnut.mesh.addresses()[0]!))
      await expect(
        dialled.then((connection) => connection.newStream('/bzzz/node/1.0.0')),
      ).rejects.toThrow()
      await until(async () => (await metrics(walnut)).includes('{result="denied"} 1'), 'a count')
    } finally {
      await stranger.stop()
    }
  })
})

describe('an invitation that lay in the data folder', () => {
  it('is used at the start, and gone afterwards', async () => {
    await using walnut = await startJoinNode('walnut')
    const { invitation } = await walnut.inviter.invite(HOUR)
    const dataDir = await folder()
    const first = await startJoinNode('ironwood', { dataDir })
    await first.stop()
    const path = join(dataDir, 'config', 'join')
    await writeFile(path, `${invitation}\n`)
    await using ironwood = await startJoinNode('ironwood', { dataDir })
    await meshed([walnut, ironwood])
    await until(() => ironwood.pending.state.state === 'joined', 'the node to say so')
    await expect(readFile(path)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('is tried again while the door is shut, and not after it has expired', async () => {
    await using walnut = await startJoinNode('walnut')
    const { id, invitation } = await walnut.inviter.invite(HOUR)
    await walnut.inviter.withdraw(id)
    const expired = formatInvitation({ ...parseInvitation(invitation), expiresAt: PAST })
    for (const [line, state] of [
      [invitation, 'trying'],
      [expired, 'refused'],
    ] as const) {
      const dataDir = await folder()
      const first = await startJoinNode('ironwood', { dataDir })
      await first.stop()
      await writeFile(join(dataDir, 'config', 'join'), line)
      await using ironwood = await startJoinNode('ironwood', { dataDir })
      await until(() => ironwood.pending.state.error !== null, 'an answer')
      expect(ironwood.pending.state.state).toBe(state)
    }
  })

  it('says why it was refused', async () => {
    const dataDir = await folder()
    const first = await startJoinNode('ironwood', { dataDir })
    await first.stop()
    await writeFile(join(dataDir, 'config', 'join'), 'bzzzinvite_abc')
    await using ironwood = await startJoinNode('ironwood', { dataDir })
    await until(() => ironwood.pending.state.state === 'refused', 'the refusal')
    expect(ironwood.pending.state.error).toContain('was the whole line copied?')
  })
})

function metrics(node: JoinNode): Promise<string> {
  return node.registry.metrics()
}
