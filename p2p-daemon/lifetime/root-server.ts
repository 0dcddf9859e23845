import { ProtocolViolationError } from '../../shared/errors.ts'
import type { Mesh, RequestHandler } from '../mesh/mesh.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Claim } from './claim.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import type { Pins } from './pins.ts'
import {
  rootRequestSchema,
  type OpenAnswer,
  type PageAnswer,
  type TouchAnswer,
} from './root-protocol.ts'
import type { RootSource } from './root-source.ts'

export interface RootServerComponents {
  mesh: Pick<Mesh, 'self' | 'expectedPeers'>
  sources: readonly RootSource[]
  pins: Pick<Pins, 'activeHold'>
  store: Pick<BlobStore, 'touch'>
}

/** Answers one that wants to collect, and one that is about to refer to a blob. */
export class RootServer {
  readonly #components: RootServerComponents

  constructor(components: RootServerComponents) {
    this.#components = components
  }

  open(): OpenAnswer {
    const { mesh, sources, pins } = this.#components
    const hold = pins.activeHold()
    return {
      members: [mesh.self.peerId, ...mesh.expectedPeers()],
      sources: sources.map(({ name }) => name),
      hold: hold ? describeHold(hold) : null,
    }
  }

  /** @throws ProtocolViolationError for a source that this node does not have */
  async page(name: string, after: string, signal?: AbortSignal): Promise<PageAnswer> {
    const source = this.#components.sources.find((candidate) => candidate.name === name)
    if (!source) throw new ProtocolViolationError('There is no such source of roots here.')
    const { hashes, next } = await source.page(after, signal)
    return { hashes: Buffer.from(hashes.join(''), 'hex').toString('base64'), next }
  }

  async touch(hash: string): Promise<TouchAnswer> {
    const stat = await this.#components.store.touch(hash)
    return { sizeBytes: stat?.sizeBytes ?? null }
  }

  readonly handle: RequestHandler = async ({ payload, signal }) => {
    const request = decodeMessage(rootRequestSchema, payload)
    switch (request.op) {
      case 'open':
        return encodeMessage(this.open())
      case 'page':
        return encodeMessage(await this.page(request.source, request.after, signal))
      case 'touch':
        return encodeMessage(await this.touch(request.hash))
    }
  }
}

export function describeHold(hold: Claim): string {
  const until = new Date(hold.expiresMs ?? 0).toISOString()
  return `${hold.key} holds collecting until ${until} for ${hold.subject}: ${hold.reason}`
}
