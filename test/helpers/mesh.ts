import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { FileAllowList } from '../../p2p-daemon/mesh/allow-list.ts'
import { Libp2pMesh, type Libp2pMeshInit } from '../../p2p-daemon/mesh/libp2p-mesh.ts'
import type { Mesh } from '../../p2p-daemon/mesh/mesh.ts'
import { loadNodeKey, type NodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { startAll, stopAll, type Startable } from '../../shared/lifecycle.ts'
import { createSilentLogger, type Logger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'

/** A node of a test cluster: a real mesh over real sockets on 127.0.0.1, nothing replaced. */
export interface TestNode {
  name: string
  dataDir: string
  log: Logger
  registry: Registry
  nodeKey: NodeKey
  allowList: FileAllowList
  mesh: Libp2pMesh
  /** What `attach` made, started after the mesh and stopped before it. */
  parts: Startable[]
}

export interface TestClusterInit {
  names: readonly string[]
  mesh?: Partial<Libp2pMeshInit>
  /** Makes what hangs on the mesh of each node, before anything starts. */
  attach?: (node: TestNode) => Startable[]
  /** Peer ids a node accepts. Default: everybody in the cluster. */
  allowed?: (node: TestNode, nodes: readonly TestNode[]) => readonly string[]
}

export class TestCluster implements AsyncDisposable {
  readonly nodes: readonly TestNode[]

  constructor(nodes: readonly TestNode[]) {
    this.nodes = nodes
  }

  node(name: string): TestNode {
    const node = this.nodes.find((candidate) => candidate.name === name)
    if (!node) throw new Error(`There is no node ${name}.`)
    return node
  }

  async stop(): Promise<void> {
    for (const node of this.nodes.toReversed()) await stopAll([node.mesh, ...node.parts])
    await Promise.all(this.nodes.map(({ dataDir }) => rm(dataDir, { recursive: true })))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/**
 * Nodes that all find each other through the first one (a star), started and, unless
 * `allowed` says otherwise, fully connected when this resolves.
 */
export async function startCluster(init: TestClusterInit): Promise<TestCluster> {
  const identities = await Promise.all(
    init.names.map(async (name) => {
      const dataDir = await mkdtemp(join(tmpdir(), `bzzz-${name}-`))
      return { name, dataDir, nodeKey: await loadNodeKey(dataDir) }
    }),
  )
  const nodes: TestNode[] = []
  const cluster = new TestCluster(nodes)
  for (const identity of identities) {
    const first = nodes[0]?.mesh.addresses()[0]
    const bootstrap = first === undefined ? [] : [first.replace(/\/p2p\/.*/, '')]
    nodes.push(createMeshNode(identity, { bootstrap, ...init.mesh }, init.attach))
    if (nodes.length > 1) continue
    await allowAll(nodes, identities)
    await startNode(nodes[0]!)
  }
  await allowAll(nodes, identities)
  for (const node of nodes) {
    const allowed = init.allowed?.(node, nodes)
    if (allowed) await writeAllowList(node, allowed)
    await node.allowList.reload()
  }
  for (const node of nodes.slice(1)) await startNode(node)
  if (!init.allowed) await Promise.all(nodes.map(({ mesh }) => untilPeers(mesh, nodes.length - 1)))
  return cluster
}

export async function startNode(node: TestNode): Promise<void> {
  await startAll([node.mesh, ...node.parts])
}

/** Rewrites the allow-list the way an operator's tool does: beside it, then renamed over it. */
export async function writeAllowList(
  node: Pick<TestNode, 'dataDir'>,
  peerIds: readonly string[],
): Promise<void> {
  const path = join(node.dataDir, 'config', 'peers.json')
  await mkdir(join(node.dataDir, 'config'), { recursive: true })
  const peers = peerIds.map((peerId, index) => ({ peerId, name: `peer-${index}` }))
  await writeFile(`${path}.new`, JSON.stringify({ peers }))
  await rename(`${path}.new`, path)
}

/** Resolves once that many peers are there, neither polling forever nor guessing a time. */
export async function untilPeers(mesh: Mesh, count: number): Promise<void> {
  await until(() => mesh.peers().length === count, `${count} peers`)
}

/** Waits for a condition. The generous limit only decides when a test is declared stuck. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limitMs = 30_000,
): Promise<void> {
  const deadline = Date.now() + limitMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited ${limitMs} ms in vain for ${what}.`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** A node that is not started yet. */
export function createMeshNode(
  identity: { name: string; dataDir: string; nodeKey: NodeKey },
  mesh: Partial<Libp2pMeshInit>,
  attach?: TestClusterInit['attach'],
): TestNode {
  const { name, dataDir, nodeKey } = identity
  const log = createSilentLogger()
  const registry = new Registry()
  const allowList = new FileAllowList({ log }, { dataDir, pollMs: 100 })
  const node: TestNode = {
    name,
    dataDir,
    log,
    registry,
    nodeKey,
    allowList,
    mesh: new Libp2pMesh(
      { log, nodeKey, allowList, registry },
      {
        listen: ['/ip4/127.0.0.1/tcp/0'],
        nodeInfo: {
          name,
          version: '2.0.0-test',
          roles: [],
          storage: true,
          weight: 1,
          zone: 'default',
          bulkPort: null,
        },
        dataDir,
        ...mesh,
      },
    ),
    parts: [],
  }
  node.parts = attach?.(node) ?? []
  return node
}

async function allowAll(
  nodes: readonly TestNode[],
  identities: readonly { nodeKey: NodeKey }[],
): Promise<void> {
  const peerIds = identities.map(({ nodeKey }) => nodeKey.peerId)
  await Promise.all(nodes.map((node) => writeAllowList(node, peerIds)))
}
