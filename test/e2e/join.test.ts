import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { NodeStatus } from '../../p2p-daemon/status.ts'
import { clientOf, runCLI, startCluster, type Cluster } from '../helpers/cluster.ts'
import { until } from '../helpers/mesh.ts'

type Status = Pick<NodeStatus, 'mesh'>

let folder: string
let walnut: Cluster
let ironwood: Cluster
let acacia: Cluster
const clusters: Cluster[] = []

/** As on a machine of its own: another data folder, other ports, another database and token. */
async function startMachine(name: string, dataDir?: string): Promise<Cluster> {
  const cluster = await startCluster({
    nodes: 1,
    args: ['--name', name],
    ...(dataDir !== undefined && { dataDir }),
  })
  clusters.push(cluster)
  return cluster
}

/** The command as typed on the machine of that cluster. */
async function bzzz(dataDir: string, ...args: string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await runCLI([...args, '--data', dataDir])
  if (exitCode !== 0) throw new Error(stderr)
  return stdout
}

async function peersOf(cluster: Cluster): Promise<string> {
  const client = clientOf(cluster)
  const answer = await client.get(`${client.nodeURL(0)}/v1/status`)
  const { connected, expected } = ((await answer.json()) as Status).mesh
  return `${connected} of ${expected}`
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-machines-'))
  walnut = await startMachine('walnut')
  ironwood = await startMachine('ironwood')
})

afterAll(async () => {
  for (const cluster of clusters.toReversed()) await cluster.dispose()
  await rm(folder, { recursive: true })
})

describe('three machines', () => {
  it('lets nobody in at first', async () => {
    expect([await peersOf(walnut), await peersOf(ironwood)]).toEqual(['0 of 0', '0 of 0'])
  })

  it('become one cluster by two invitations, before a node runs and while it does', async () => {
    const first = await bzzz(walnut.dataDir, 'node', 'invite')
    const said = await bzzz(ironwood.dataDir, 'node', 'join', first)
    expect(said).toBe('joined through walnut; members: walnut, ironwood\n')

    const second = await bzzz(ironwood.dataDir, 'node', 'invite', '--expires', '10m')
    const dataDir = join(folder, 'acacia')
    const later = await bzzz(dataDir, 'node', 'join', second, '--name', 'acacia')
    expect(later).toContain('acacia in')
    acacia = await startMachine('acacia', dataDir)

    for (const cluster of clusters) {
      await until(async () => (await peersOf(cluster)) === '2 of 2', 'three nodes to meet', 60_000)
    }
    const nodes = await bzzz(acacia.dataDir, 'node', 'ls')
    for (const name of ['walnut', 'ironwood', 'acacia']) expect(nodes).toContain(name)
  })

  it('read on one what was written on another', async () => {
    const file = join(folder, 'plan.md')
    await writeFile(file, 'The plan: ship it.\n')
    await bzzz(walnut.dataDir, 'put', file, 'bzzz://reviewer@apollo/plan.md')
    for (const { dataDir } of [acacia, ironwood]) {
      const read = await bzzz(dataDir, 'get', 'bzzz://reviewer@apollo/plan.md')
      expect(read).toBe('The plan: ship it.\n')
    }
  })

  it('refuse in one sentence an invitation that is used, cut short or made up', async () => {
    const made = await bzzz(walnut.dataDir, 'node', 'invite', '--json')
    const { invitation, id } = JSON.parse(made) as { invitation: string; id: string }
    const { stderr, exitCode } = await runCLI([
      ...['node', 'join', invitation.slice(0, -20), '--data', ironwood.dataDir],
    ])
    expect([exitCode, stderr]).toEqual([
      1,
      'bzzz: The invitation cannot be read: was the whole line copied? (BZZZ_INVITATION_INVALID)\n',
    ])
    expect(await bzzz(walnut.dataDir, 'node', 'invitations')).toContain(id)
    await bzzz(walnut.dataDir, 'node', 'withdraw', id)
    const withdrawn = await runCLI(['node', 'join', invitation, '--data', ironwood.dataDir])
    expect(withdrawn.stderr).toContain('BZZZ_INVITATION_INVALID')
  })

  it('cut off a node that is removed', async () => {
    await bzzz(walnut.dataDir, 'node', 'remove', 'acacia', '--force')
    await until(async () => (await peersOf(walnut)) === '1 of 1', 'walnut to have let go')
    await until(async () => (await peersOf(ironwood)) === '1 of 1', 'ironwood to have let go')
    await until(async () => (await peersOf(acacia)) === '0 of 0', 'acacia to be alone')
  })
})
