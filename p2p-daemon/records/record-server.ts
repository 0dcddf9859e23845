import { parsePattern } from '../../shared/address/pattern.ts'
import {
  AuthorNotAllowedError,
  InvalidAddressError,
  InvalidRecordError,
  ProtocolViolationError,
} from '../../shared/errors.ts'
import { recordHash, type AddressRecord } from '../../shared/record/record.ts'
import type { RequestHandler } from '../mesh/mesh.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { TIPS_PER_FRAME_MAX, RECORDS_PER_FRAME_MAX } from './constants.ts'
import type { RecordCoordinator } from './record-coordinator.ts'
import {
  decodeRequest,
  encodeMessage,
  recordFromText,
  recordToText,
  type RecordAnswer,
  type RecordRequest,
} from './record-protocol.ts'
import type { RecordStore } from './record-store.ts'

export interface RecordServerComponents {
  store: RecordStore
  coordinator: RecordCoordinator
  /** Whose records count: this node and those of the allow-list. */
  isMember: (peerId: string) => boolean
  ownership: Pick<Ownership, 'allows' | 'accepts'>
  /** Told why something was refused. */
  onRefused?: (reason: RefusalReason) => void
  /** Told of what was stored, to fetch what lies below it where that is missing. */
  onStored?: (record: AddressRecord, peerId: string) => void
}

export type RefusalReason = 'invalid' | 'policy' | 'unreadable'

/** Answers peers' questions about records from what this node holds; it asks nobody else. */
export function createRecordServer(components: RecordServerComponents): RequestHandler {
  return async ({ peerId, payload, signal }) => {
    try {
      const request = decodeRequest(payload)
      return encodeMessage(await answer(components, request, peerId, signal))
    } catch (error) {
      const reason = reasonOf(error)
      if (reason) components.onRefused?.(reason)
      throw error
    }
  }
}

async function answer(
  components: RecordServerComponents,
  request: RecordRequest,
  peerId: string,
  signal: AbortSignal,
): Promise<RecordAnswer> {
  const { store, coordinator, isMember, ownership } = components
  switch (request.op) {
    case 'commit': {
      const record = ofMember(request.record, isMember)
      const { address, author } = record
      requirePolicy(isKnown(store, record) || ownership.allows(address, author), record)
      return coordinator.commit(record, peerId, signal)
    }
    case 'store': {
      const record = ofMember(request.record, isMember)
      requirePolicy(isKnown(store, record) || ownership.accepts(record, peerId), record)
      await coordinator.keep(record)
      components.onStored?.(record, peerId)
      return { outcome: 'ok' }
    }
    case 'head':
      return { ...records(store.head(request.name)), forks: store.forks(request.name) }
    case 'version':
      return records(store.version(request.name, request.version))
    case 'at':
      return records(store.at(request.name, request.timestampMs))
    case 'history': {
      const limit = Math.min(request.limit, RECORDS_PER_FRAME_MAX)
      return records(...store.history(request.name, request.before, limit))
    }
    case 'record':
      return records(store.byHash(request.hash))
    case 'ends':
      return records(...store.ends(request.name, RECORDS_PER_FRAME_MAX))
    case 'search': {
      const { pattern, limit, ...query } = request
      const page = { pattern: parsePattern(pattern), limit: Math.min(limit, RECORDS_PER_FRAME_MAX) }
      const found = store.search({ ...query, ...page })
      return records(...found.map(({ name }) => store.head(name)))
    }
    case 'tips':
      return { outcome: 'ok', tips: store.tips(request.after, TIPS_PER_FRAME_MAX) }
  }
}

/** A new record is taken from members only; old ones of nodes that left stay part of history. */
function ofMember(text: string, isMember: (peerId: string) => boolean): AddressRecord {
  const record = recordFromText(text)
  if (isMember(record.author)) return record
  throw new InvalidRecordError('The author of the record is not a member.')
}

/** What is here already was taken when it was allowed. */
function isKnown(store: RecordStore, record: AddressRecord): boolean {
  return store.byHash(recordHash(record)) !== undefined
}

function requirePolicy(allowed: boolean, { address, author }: AddressRecord): void {
  if (!allowed) throw new AuthorNotAllowedError(`${author} may not write ${address}.`)
}

function reasonOf(error: unknown): RefusalReason | undefined {
  if (error instanceof InvalidRecordError) return 'invalid'
  if (error instanceof AuthorNotAllowedError) return 'policy'
  if (error instanceof ProtocolViolationError) return 'unreadable'
  return error instanceof InvalidAddressError ? 'unreadable' : undefined
}

function records(...found: (AddressRecord | undefined)[]): RecordAnswer {
  return {
    outcome: 'ok',
    records: found.filter((record) => record !== undefined).map(recordToText),
  }
}
