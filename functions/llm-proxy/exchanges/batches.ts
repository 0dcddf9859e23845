import { LRUCache } from 'lru-cache'

import { recordName } from '../../../shared/address/address.ts'
import { EXCHANGES_PER_BATCH_MAX } from '../../../shared/llm/exchange.ts'
import { BATCH_OPEN_MS, BATCHES_MAX } from './constants.ts'
import type { ExchangeCall } from './recorder.ts'
import { timeOrderedId } from './time-ordered-id.ts'

/**
 * Exchanges of one caller that began about the same time, under one address: a name for each would
 * cost a signed record and its replication for each. An exchange is a fragment of it.
 */
export interface Batch {
  /** `bzzz://coder@apollo/exchanges/<id>` */
  name: string
  project: string
  token: string
  /** Those that ended, encoded, the first to end first. Each write is of all of them. */
  exchanges: string[]
  /** Of exchanges in it, and when it takes in no more. */
  begun: number
  readonly closesMs: number
}

/** Whether more may begin in it. */
export function isOpen({ begun, closesMs }: Batch, nowMs = Date.now()): boolean {
  return closesMs > nowMs && begun < EXCHANGES_PER_BATCH_MAX
}

/** The batches that take in what begins now. Only this process writes them: no other knows them. */
export class Batches {
  readonly #open = new LRUCache<string, Batch>({ max: BATCHES_MAX })
  readonly #token: string | undefined

  /** `token`: of the proxy itself, in place of each caller's. */
  constructor(init: { token?: string | undefined }) {
    this.#token = init.token
  }

  /** @throws InvalidAddressError when project or agent is no label */
  join({ scope, token: callers }: ExchangeCall, nowMs = Date.now()): Batch {
    const { agent, project } = scope
    const token = this.#token ?? callers
    const key = [project, agent, token].join(' ')
    const known = this.#open.get(key)
    if (known && isOpen(known, nowMs)) {
      known.begun += 1
      return known
    }
    const path = `exchanges/${timeOrderedId(nowMs)}`
    const name = recordName({ kind: 'semantic', agent, project, path })
    const closesMs = nowMs + BATCH_OPEN_MS
    const batch: Batch = { name, project, token, exchanges: [], begun: 1, closesMs }
    this.#open.set(key, batch)
    return batch
  }
}
