import { parseAddress } from '../../shared/address/address.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { RecordContent, RecordStore } from '../records/record-store.ts'
import { QUOTA_TIMEOUT_MS, USAGE_BATCH_ROWS } from './constants.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import { QUOTA_PROTOCOL, usageAnswerSchema, type QuotaRequest } from './quota-protocol.ts'
import type { UsageRow, UsageStore } from './usage-store.ts'

export interface UsageSyncComponents {
  mesh: Pick<Mesh, 'peers' | 'request' | 'on'>
  usage: UsageStore
  records: Pick<RecordStore, 'contents'>
  /** Told of contents that are counted from now on. */
  onCounted: (rows: readonly UsageRow[]) => void
}

/** Where the node's own records are followed from. */
const OWN_RECORDS = 'records'

/**
 * Keeps the usage of all projects: from the records of this node, and from what its peers learned
 * from theirs. Every node so knows every content of every project once, whoever holds the record.
 */
export class UsageSync {
  readonly #components: UsageSyncComponents
  /** Everybody asked since somebody last came or went. */
  #everybody: Promise<unknown> | undefined

  constructor(components: UsageSyncComponents) {
    this.#components = components
    components.mesh.on('join', () => (this.#everybody = undefined))
    components.mesh.on('leave', () => (this.#everybody = undefined))
  }

  /** Counts the records that came to this node since the last time; little work when none did. */
  catchUp(): void {
    const { records, usage } = this.#components
    // The first record names the file: in another one the numbers mean something else.
    const epoch = records.contents(0, 1)[0]?.record ?? ''
    const known = usage.position(OWN_RECORDS)
    let sequence = known.epoch === epoch ? known.sequence : 0
    for (;;) {
      const page = records.contents(sequence, USAGE_BATCH_ROWS)
      const last = page.at(-1)
      if (!last) return
      sequence = last.sequence
      this.#learn(OWN_RECORDS, page.map(toUsage), { epoch, sequence })
    }
  }

  /** What one peer learned since the last time. */
  async pull(peerId: string, signal?: AbortSignal): Promise<number> {
    const { mesh, usage } = this.#components
    let learnt = 0
    for (;;) {
      signal?.throwIfAborted()
      const { epoch, sequence } = usage.position(peerId)
      const request: QuotaRequest = { op: 'since', epoch, sequence }
      const options = { timeoutMs: QUOTA_TIMEOUT_MS, ...(signal && { signal }) }
      const bytes = await mesh.request(peerId, QUOTA_PROTOCOL, encodeMessage(request), options)
      const answer = decodeMessage(usageAnswerSchema, bytes)
      if (answer.rows.length === 0) return learnt
      learnt += this.#learn(peerId, answer.rows, answer)
    }
  }

  /**
   * Resolves once every peer in reach was asked after the last one came or went: who takes over
   * an account then knows what every record in reach says. A peer that does not answer is left out.
   */
  everybody(): Promise<unknown> {
    this.#everybody ??= Promise.allSettled(
      this.#components.mesh.peers().map(({ peerId }) => this.pull(peerId)),
    )
    return this.#everybody
  }

  #learn(source: string, rows: UsageRow[], upTo: { epoch: string; sequence: number }): number {
    const { usage, onCounted } = this.#components
    const { epoch, sequence } = upTo
    const fresh = usage.learn(source, rows, { epoch, sequence })
    onCounted(fresh)
    return fresh.length
  }
}

function toUsage({ name, content, sizeBytes }: RecordContent): UsageRow {
  const address = parseAddress(name)
  if (address.kind !== 'semantic') throw new Error('A record names a semantic address.')
  return { project: address.project, hash: content, sizeBytes }
}
