import type { RequestHandler } from '../mesh/mesh.ts'
import type { BlobStat, BlobStore } from '../store/blob-store.ts'
import type { BlobPulls } from './blob-pulls.ts'
import { STRAGGLER_JOB_DELAY_MS } from './constants.ts'
import { decodeCopies, encodeHeld } from './copy-protocol.ts'
import type { DropGuard } from './drop-guard.ts'
import type { Members } from './members.ts'
import type { RepairQueue } from './repair-queue.ts'
import {
  decodeRequest,
  encodeMessage,
  type ReplicationAnswer,
  type ReplicationRequest,
} from './replication-protocol.ts'

export interface ReplicaServerComponents {
  store: BlobStore
  pulls: Pick<BlobPulls, 'pull'>
  queue: Pick<RepairQueue, 'add' | 'addSoon'>
  guard: DropGuard
  members: Pick<Members, 'selfId' | 'holders' | 'isLive'>
  /** How long a copy that was slow to come may take after its stand-in was asked. */
  stragglerDelayMs?: number
}

/** Answers peers that ask about copies on this node or tell it to hold one. */
export function createReplicaServer(components: ReplicaServerComponents): RequestHandler {
  return async ({ peerId, payload, signal }) => {
    const request = decodeRequest(payload)
    return encodeMessage(await answer(components, peerId, request, signal))
  }
}

/** Takes copies that peers bring, all at once, so that they share the syncs of the disk. */
export function createCopyServer(
  components: Pick<ReplicaServerComponents, 'store' | 'queue' | 'members' | 'stragglerDelayMs'>,
): RequestHandler {
  return async ({ payload }) => {
    const taken = decodeCopies(payload).map(async ({ hash, bytes, heldFor }) => {
      const { sizeBytes } = await components.store.put(bytes, { expectedHash: hash })
      await note(components, { hash, sizeBytes }, heldFor)
    })
    const settled = await Promise.allSettled(taken)
    return encodeHeld(settled.map(({ status }) => status === 'fulfilled'))
  }
}

async function answer(
  components: ReplicaServerComponents,
  peerId: string,
  request: ReplicationRequest,
  signal: AbortSignal,
): Promise<ReplicationAnswer> {
  const { store, guard } = components
  switch (request.op) {
    case 'have':
      return sizeOf(await store.stat(request.hash))
    case 'which': {
      const held: boolean[] = []
      for (const hash of request.hashes) held.push((await store.stat(hash)) !== undefined)
      return { held }
    }
    case 'keep': {
      // As after a put: the copy that goes may have been fresh, so this one must not be garbage.
      const blob = await store.touch(request.hash)
      return sizeOf(blob && guard.promise(request.hash) ? blob : undefined)
    }
    case 'hold':
      return sizeOf(await hold(components, peerId, request, signal))
  }
}

async function hold(
  components: ReplicaServerComponents,
  peerId: string,
  request: Extract<ReplicationRequest, { op: 'hold' }>,
  signal: AbortSignal,
): Promise<BlobStat | undefined> {
  const { store, pulls } = components
  const { hash, heldFor } = request
  const options = { from: [peerId], signal }
  const pulled = await pulls.pull(hash, options).catch(() => undefined)
  // It may have joined a pull from somebody who has nothing; whoever asks certainly has it.
  if (!pulled?.found) await pulls.pull(hash, options)
  const blob = await store.touch(hash)
  if (blob) await note(components, blob, heldFor)
  return blob
}

/** Sees to it that a copy which was brought here moves on where it does not belong. */
async function note(
  components: Pick<ReplicaServerComponents, 'queue' | 'members' | 'stragglerDelayMs'>,
  blob: BlobStat,
  heldFor: string | undefined,
): Promise<void> {
  const { queue, members } = components
  const delayMs = components.stragglerDelayMs ?? STRAGGLER_JOB_DELAY_MS
  if (heldFor !== undefined) {
    const waiting = members.isLive(heldFor) ? { delayMs } : { waitingFor: [heldFor] }
    // Written before the copy counts, so that a crash does not forget whose it is.
    await queue.add({ ...blob, reason: 'handoff', missing: 1, heldFor, ...waiting })
  } else if (!members.holders(blob.hash).includes(members.selfId)) {
    // Who sent it sees other members than this node; one of the two will have it moved.
    queue.addSoon({ ...blob, reason: 'surplus', delayMs })
  }
}

function sizeOf(blob: BlobStat | undefined): ReplicationAnswer {
  return { sizeBytes: blob?.sizeBytes ?? null }
}
