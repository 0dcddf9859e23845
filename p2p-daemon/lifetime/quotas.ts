import { PeerUnreachableError, QuotaExceededError } from '../../shared/errors.ts'
import type { Mesh, RequestHandler } from '../mesh/mesh.ts'
import { rank } from '../replication/placement.ts'
import { QUOTA_TIMEOUT_MS, USAGE_ROWS_PER_MESSAGE_MAX } from './constants.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import type { QuotaLimits } from './quota-limits.ts'
import {
  grantAnswerSchema,
  QUOTA_PROTOCOL,
  quotaRequestSchema,
  type GrantAnswer,
  type QuotaRequest,
  type UsageAnswer,
} from './quota-protocol.ts'
import type { Reservations } from './reservations.ts'
import type { UsageRow, UsageStore } from './usage-store.ts'
import type { UsageSync } from './usage-sync.ts'

export interface QuotasComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'request'>
  limits: Pick<QuotaLimits, 'of' | 'named'>
  usage: UsageStore
  reservations: Reservations
  sync: Pick<UsageSync, 'catchUp' | 'everybody'>
}

export interface ProjectUsage {
  project: string
  /** Bytes of the distinct contents of all kept versions of its addresses. */
  used: number
  /** Bytes granted here to writes that are not counted yet. */
  reserved: number
  /** Null: there is none. */
  limit: number | null
}

/**
 * Limits of projects. One node keeps the account of a project: the first of its rank that is here.
 * It grants bytes one write after the other, so writers on all nodes together stay below the
 * limit. When the account moves, the new node first asks everybody what is written; it does not
 * know what was granted and is still being written, so a limit can be exceeded by that much, and in
 * a partition by what each side had left.
 */
export class Quotas {
  readonly #components: QuotasComponents

  constructor(components: QuotasComponents) {
    this.#components = components
  }

  /**
   * Refuses early what cannot be meant to succeed, by what this node knows. A content that the
   * project has already costs nothing.
   * @throws QuotaExceededError
   */
  check(project: string, content: { hash?: string | undefined; sizeBytes: number }): void {
    const { limits, usage, reservations, sync } = this.#components
    const limit = limits.of(project)
    if (limit === undefined) return
    sync.catchUp()
    if (content.hash !== undefined && usage.has(project, content.hash)) return
    const used = usage.used(project) + reservations.reserved(project)
    if (used + content.sizeBytes > limit) throw exceeded(project, used, limit)
  }

  /**
   * To be asked before a record is written. `release` gives the bytes back when it is certain that
   * it was not; without it they are counted with the record, or after some minutes no more.
   * @throws QuotaExceededError
   */
  async admit(
    { project, hash, sizeBytes }: UsageRow,
    signal?: AbortSignal,
  ): Promise<{ release: () => Promise<void> }> {
    if (this.#components.limits.of(project) === undefined) {
      return { release: () => Promise.resolve() }
    }
    const request = { op: 'reserve' as const, project, hash, sizeBytes }
    const { keeper, answer } = await this.#askKeeper(request, signal)
    const { refused } = answer
    if (refused) throw exceeded(project, refused.used, refused.limit)
    const release = async (): Promise<void> => {
      // Best effort: what is not given back now expires.
      await this.#ask(keeper, { op: 'release', project, hash }).catch(() => undefined)
    }
    return { release }
  }

  /** Projects that keep something or have a limit, in order. */
  page(after: string, limit: number): ProjectUsage[] {
    const { limits, usage, reservations, sync } = this.#components
    sync.catchUp()
    const named = limits.named().filter((name) => name > after)
    const names = new Set([...usage.projects(after, limit), ...named])
    return [...names]
      .toSorted()
      .slice(0, limit)
      .map((project) => ({
        project,
        used: usage.used(project),
        reserved: reservations.reserved(project),
        limit: limits.of(project) ?? null,
      }))
  }

  readonly handle: RequestHandler = async ({ payload }) => {
    const request = decodeMessage(quotaRequestSchema, payload)
    if (request.op === 'since') return encodeMessage(this.#since(request))
    return encodeMessage(await this.#decide(request))
  }

  #since(request: { epoch: string; sequence: number }): UsageAnswer {
    const { usage, sync } = this.#components
    sync.catchUp()
    const from = request.epoch === usage.epoch ? request.sequence : 0
    return { ...usage.since(from, USAGE_ROWS_PER_MESSAGE_MAX), epoch: usage.epoch }
  }

  /** The account. From the look at it to the reservation nothing else comes in between. */
  async #decide(request: Exclude<QuotaRequest, { op: 'since' }>): Promise<GrantAnswer> {
    const { limits, usage, reservations, sync } = this.#components
    const { project, hash } = request
    if (request.op === 'release') {
      reservations.release(project, hash)
      return { refused: null }
    }
    await sync.everybody()
    sync.catchUp()
    const { sizeBytes } = request
    const limit = limits.of(project)
    if (limit === undefined || usage.has(project, hash)) return { refused: null }
    const used = usage.used(project) + reservations.reserved(project)
    const known = reservations.has(project, hash)
    if (!known && used + sizeBytes > limit) return { refused: { used, limit } }
    reservations.add({ project, hash, sizeBytes })
    return { refused: null }
  }

  async #askKeeper(
    request: Extract<QuotaRequest, { op: 'reserve' }>,
    signal?: AbortSignal,
  ): Promise<{ keeper: string; answer: GrantAnswer }> {
    const { mesh } = this.#components
    const nodes = [mesh.self, ...mesh.peers()].filter((node) => node.storage)
    for (const { peerId } of rank(nodes, `quota\n${request.project}`)) {
      try {
        return { keeper: peerId, answer: await this.#ask(peerId, request, signal) }
      } catch (error) {
        // It died under the question: the account moves to the next of the rank.
        if (!(error instanceof PeerUnreachableError)) throw error
        signal?.throwIfAborted()
      }
    }
    return { keeper: mesh.self.peerId, answer: await this.#decide(request) }
  }

  async #ask(
    peerId: string,
    request: Exclude<QuotaRequest, { op: 'since' }>,
    signal?: AbortSignal,
  ): Promise<GrantAnswer> {
    const { mesh } = this.#components
    if (peerId === mesh.self.peerId) return this.#decide(request)
    const options = { timeoutMs: QUOTA_TIMEOUT_MS, ...(signal && { signal }) }
    const bytes = await mesh.request(peerId, QUOTA_PROTOCOL, encodeMessage(request), options)
    return decodeMessage(grantAnswerSchema, bytes)
  }
}

function exceeded(project: string, used: number, limit: number): QuotaExceededError {
  const message = `The project ${project} keeps ${used} of at most ${limit} bytes.`
  return new QuotaExceededError(message, { project, used, limit })
}
