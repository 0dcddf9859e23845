import type { Clock } from '../clock.ts'
import type { RequestHandler } from '../mesh/mesh.ts'
import { CLAIMS_PER_MESSAGE_MAX } from './constants.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import { pinRequestSchema, type PinAnswer } from './pin-protocol.ts'
import type { PinStore } from './pin-store.ts'

/** Keeps what peers tell of claims, and tells them what changed here. */
export function createPinServer(components: { store: PinStore; clock: Clock }): RequestHandler {
  const { store, clock } = components
  return async ({ payload }) => {
    const request = decodeMessage(pinRequestSchema, payload)
    if (request.op === 'keep') {
      for (const claim of request.claims) store.apply(claim, clock.now())
      return encodeMessage(answer(store, [], 0))
    }
    const from = request.epoch === store.epoch ? request.sequence : 0
    const changed = store.since(from, CLAIMS_PER_MESSAGE_MAX)
    return encodeMessage(answer(store, changed, from))
  }
}

function answer(store: PinStore, changed: ReturnType<PinStore['since']>, from: number): PinAnswer {
  return {
    claims: changed.map(({ claim }) => claim),
    epoch: store.epoch,
    sequence: changed.at(-1)?.sequence ?? from,
    more: changed.length === CLAIMS_PER_MESSAGE_MAX,
  }
}
