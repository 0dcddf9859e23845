import {
  OverloadedError,
  ProtocolViolationError,
  StorageUnavailableError,
} from '../../shared/errors.ts'
import { MESSAGE_BYTES_MAX } from '../mesh/constants.ts'
import type { Mesh } from '../mesh/mesh.ts'
import {
  COPIES_PER_MESSAGE_MAX,
  COPY_HEAD_BYTES_MAX,
  PUSH_MESSAGES_MAX,
  PUSHED_WAITING_BYTES_MAX,
  RECEIVE_BASE_TIMEOUT_MS,
} from './constants.ts'
import { COPIES_PROTOCOL, decodeHeld, encodeCopies, type Copy } from './copy-protocol.ts'
import { receiveTimeoutMs } from './replica-client.ts'

interface Waiting {
  copy: Copy
  bytes: number
  resolve: () => void
  reject: (error: unknown) => void
}

/** What goes to one peer. */
interface Lane {
  waiting: Waiting[]
  waitingBytes: number
  /** Messages on their way. */
  running: number
}

/**
 * Sends small blobs to their holders, in messages of many: what waits when a message comes back
 * makes the next one, as with the group commit of the disk on which it ends.
 */
export class CopyPushes {
  readonly #mesh: Pick<Mesh, 'request'>
  readonly #receiveBaseTimeoutMs: number
  readonly #lanes = new Map<string, Lane>()

  constructor(
    components: { mesh: Pick<Mesh, 'request'> },
    init: { receiveBaseTimeoutMs?: number } = {},
  ) {
    this.#mesh = components.mesh
    this.#receiveBaseTimeoutMs = init.receiveBaseTimeoutMs ?? RECEIVE_BASE_TIMEOUT_MS
  }

  /** Resolves once the peer holds the copy durably. @throws what the peer failed with */
  push(peerId: string, copy: Copy, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const lane = this.#lanes.get(peerId) ?? { waiting: [], waitingBytes: 0, running: 0 }
      const bytes = copy.bytes.byteLength + COPY_HEAD_BYTES_MAX
      if (lane.waitingBytes + bytes > PUSHED_WAITING_BYTES_MAX) {
        throw new OverloadedError('Too many copies wait for this peer.', 1)
      }
      this.#lanes.set(peerId, lane)
      lane.waiting.push({ copy, bytes, resolve, reject })
      lane.waitingBytes += bytes
      if (lane.running < PUSH_MESSAGES_MAX) void this.#run(peerId, lane, signal)
    })
  }

  /** Never rejects. */
  async #run(peerId: string, lane: Lane, signal: AbortSignal): Promise<void> {
    lane.running += 1
    // Puts that end with the same sync go together.
    await new Promise((resolve) => setImmediate(resolve))
    while (lane.waiting.length > 0) {
      const sent = take(lane)
      try {
        const held = await this.#send(peerId, sent, signal)
        sent.forEach(({ resolve, reject }, index) => {
          if (held[index]) resolve()
          else reject(new StorageUnavailableError('The peer did not take the copy.'))
        })
      } catch (error) {
        // What waits behind it would wait as long for the same.
        for (const { reject } of [...sent, ...lane.waiting]) reject(error)
        lane.waiting = []
        lane.waitingBytes = 0
      }
    }
    lane.running -= 1
    if (lane.running === 0) this.#lanes.delete(peerId)
  }

  async #send(
    peerId: string,
    sent: readonly Waiting[],
    signal: AbortSignal,
  ): Promise<readonly boolean[]> {
    const payload = encodeCopies(sent.map(({ copy }) => copy))
    const timeoutMs = receiveTimeoutMs(payload.byteLength, this.#receiveBaseTimeoutMs)
    const options = { timeoutMs, signal }
    const answer = await this.#mesh.request(peerId, COPIES_PROTOCOL, payload, options)
    const held = decodeHeld(answer)
    if (held.length === sent.length) return held
    throw new ProtocolViolationError('The peer answered for other copies than were sent.')
  }
}

/** The oldest that fit one message; each fits by itself. */
function take(lane: Lane): Waiting[] {
  let bytes = 0
  let count = 0
  for (const waiting of lane.waiting) {
    const isFull = count === COPIES_PER_MESSAGE_MAX || bytes + waiting.bytes > MESSAGE_BYTES_MAX
    if (isFull) break
    bytes += waiting.bytes
    count += 1
  }
  lane.waitingBytes -= bytes
  return lane.waiting.splice(0, count)
}
