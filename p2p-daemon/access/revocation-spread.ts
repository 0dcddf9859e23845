import type { Mesh, RequestHandler } from '../mesh/mesh.ts'
import { decodeMessage, encodeMessage } from '../lifetime/message.ts'
import { PUSH_TIMEOUT_MS, STATEMENTS_PER_MESSAGE_MAX } from './constants.ts'
import {
  REVOCATION_PROTOCOL,
  revocationAnswerSchema,
  revocationRequestSchema,
  type RevocationAnswer,
  type RevocationRequest,
} from './revocation-protocol.ts'
import type { RevocationStore } from './revocation-store.ts'

export interface RevocationSpreadComponents {
  mesh: Pick<Mesh, 'peers' | 'request'>
  store: RevocationStore
}

/**
 * Carries revocations from node to node: what is new here is told to every connected peer at once,
 * and what a node missed it pulls from whichever peer it meets.
 */
export class RevocationSpread {
  readonly #components: RevocationSpreadComponents

  constructor(components: RevocationSpreadComponents) {
    this.#components = components
  }

  /** Keeps statements and tells the peers. Resolves with the names of those that know now. */
  async add(
    statements: readonly string[],
    signal?: AbortSignal,
  ): Promise<{ added: number; told: string[]; notTold: string[] }> {
    const { mesh, store } = this.#components
    const fresh = await store.add(statements)
    // Also when nothing was new here: whoever repeats it wants the others to know.
    const results = await Promise.all(
      mesh.peers().map(async ({ peerId, name }) => {
        const told = await this.#tell(peerId, statements, signal).catch(() => false)
        return { name, told }
      }),
    )
    const names = (told: boolean) =>
      results.filter((one) => one.told === told).map(({ name }) => name)
    return { added: fresh.length, told: names(true), notTold: names(false) }
  }

  /** Takes over what a peer knows and this node does not. */
  async pull(peerId: string, signal: AbortSignal): Promise<number> {
    let learnt = 0
    for (let after: string | null = ''; after !== null;) {
      signal.throwIfAborted()
      const answer = await this.#ask(peerId, { op: 'list', after }, signal)
      learnt += (await this.#components.store.add(answer.statements)).length
      after = answer.next
    }
    return learnt
  }

  readonly handle: RequestHandler = async ({ payload }) => {
    const { store } = this.#components
    const request = decodeMessage(revocationRequestSchema, payload)
    if (request.op === 'list') {
      return encodeMessage(store.page(request.after, STATEMENTS_PER_MESSAGE_MAX))
    }
    await store.add(request.statements)
    return encodeMessage({ statements: [], next: null } satisfies RevocationAnswer)
  }

  async #tell(
    peerId: string,
    statements: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    for (let start = 0; start < statements.length; start += STATEMENTS_PER_MESSAGE_MAX) {
      const part = statements.slice(start, start + STATEMENTS_PER_MESSAGE_MAX)
      await this.#ask(peerId, { op: 'keep', statements: part }, signal)
    }
    return true
  }

  async #ask(
    peerId: string,
    request: RevocationRequest,
    signal: AbortSignal | undefined,
  ): Promise<RevocationAnswer> {
    const options = { timeoutMs: PUSH_TIMEOUT_MS, ...(signal && { signal }) }
    const payload = encodeMessage(request)
    const bytes = await this.#components.mesh.request(peerId, REVOCATION_PROTOCOL, payload, options)
    return decodeMessage(revocationAnswerSchema, bytes)
  }
}
