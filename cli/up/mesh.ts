import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { request } from 'undici'
import { z } from 'zod'

import { ProcessStartError } from '../../shared/errors.ts'
import {
  MESH_READY_TIMEOUT_MS,
  READY_POLL_INTERVAL_MS,
  READY_REQUEST_TIMEOUT_MS,
} from './constants.ts'
import { writeDurable } from './durable-file.ts'

export interface MeshNode {
  name: string
  /** The node's own folder. */
  dataDir: string
  endpoint: string
  peerId: string
}

/** Lets the nodes in with each other and waits until they are connected. */
export async function joinMesh(
  nodes: readonly MeshNode[],
  options: { token: string; signal: AbortSignal },
): Promise<void> {
  await writeAllowLists(nodes)
  await waitForMesh(nodes, options)
}

const allowListSchema = z.object({
  peers: z.array(z.object({ peerId: z.string(), name: z.string() })),
})

type AllowList = z.output<typeof allowListSchema>

/**
 * Lets every node in with every other. What an operator wrote into a list for nodes elsewhere
 * stays; an entry under one of our names with another id is an older self and goes.
 */
export async function writeAllowLists(nodes: readonly MeshNode[]): Promise<void> {
  const names = new Set(nodes.map(({ name }) => name))
  for (const node of nodes) {
    const file = join(node.dataDir, 'config', 'peers.json')
    const before = await readFile(file, 'utf8').catch(() => '')
    const others = before === '' ? [] : parse(file, before).peers
    const peers = [
      ...nodes.filter((peer) => peer !== node).map(({ peerId, name }) => ({ peerId, name })),
      ...others.filter(({ name }) => !names.has(name)),
    ]
    const text = JSON.stringify({ peers }, null, 2) + '\n'
    if (text === before) continue
    await mkdir(join(node.dataDir, 'config'), { recursive: true })
    await writeDurable(file, text)
  }
}

function parse(file: string, text: string): AllowList {
  try {
    return allowListSchema.parse(JSON.parse(text))
  } catch (error) {
    throw new ProcessStartError(`${file} is not a list of peers: mend it or remove it.`, {
      cause: error,
    })
  }
}

/** Resolves when every node is connected to every other. @throws ProcessStartError after a while */
async function waitForMesh(
  nodes: readonly MeshNode[],
  { token, signal }: { token: string; signal: AbortSignal },
): Promise<void> {
  const deadlineMs = Date.now() + MESH_READY_TIMEOUT_MS
  for (const node of nodes) {
    let missing = await missingPeers(node, nodes, token, signal)
    while (missing.length > 0) {
      if (Date.now() > deadlineMs) {
        throw new ProcessStartError(
          `${node.name} is not connected to ${missing.join(', ')} after ${MESH_READY_TIMEOUT_MS / 1000} s: its log says why.`,
        )
      }
      await sleep(READY_POLL_INTERVAL_MS, undefined, { signal })
      missing = await missingPeers(node, nodes, token, signal)
    }
  }
}

async function missingPeers(
  node: MeshNode,
  nodes: readonly MeshNode[],
  token: string,
  signal: AbortSignal,
): Promise<string[]> {
  const others = nodes.filter((peer) => peer !== node)
  if (others.length === 0) return []
  const connected = await connectedPeers(node, token, signal)
  return others.filter(({ peerId }) => !connected.has(peerId)).map(({ name }) => name)
}

async function connectedPeers(
  node: MeshNode,
  token: string,
  signal: AbortSignal,
): Promise<Set<string>> {
  const timeout = AbortSignal.timeout(READY_REQUEST_TIMEOUT_MS)
  try {
    const { statusCode, body } = await request(`${node.endpoint}/v1/peers`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.any([signal, timeout]),
    })
    const answer = (await body.json()) as { peers?: { peerId: string }[] }
    return new Set(statusCode === 200 ? answer.peers?.map(({ peerId }) => peerId) : [])
  } catch {
    signal.throwIfAborted()
    // The node is being started again, or is slow: it is asked again.
    return new Set()
  }
}
