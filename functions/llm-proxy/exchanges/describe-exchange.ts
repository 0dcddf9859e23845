import { hashBytes } from '../../../shared/blob/hash.ts'
import type { Exchange, ExchangeBody } from '../../../shared/llm/exchange.ts'
import { wholeUsage } from '../../../shared/llm/model-usage.ts'
import type { ExchangeEnd } from './recorder.ts'
import type { Recording } from './recording.ts'
import { redact, type Redacted, type Redaction } from './redaction.ts'

/** What is stored of an exchange, and the bodies that it names, by their hashes. */
export function describeExchange(
  recording: Recording,
  end: ExchangeEnd,
  rules: readonly Redaction[],
): { exchange: Exchange; blobs: Map<string, Buffer> } {
  const { call } = recording
  const bodies = recording.bodies()
  const request = bodies && redact(bodies.request, 'request', rules)
  const response = bodies && redact(bodies.response, 'response', rules)
  // What cannot be searched may hold what is to be taken out.
  if (bodies && (!request || !response)) recording.withhold('not-text')
  const parts = request && response ? { request, response } : null
  const blobs = new Map<string, Buffer>()
  const exchange: Exchange = {
    id: recording.id,
    at: recording.at.toISOString(),
    tokenId: call.scope.tokenId,
    subject: call.scope.subject,
    project: call.scope.project,
    agent: call.scope.agent,
    method: call.method,
    path: call.path,
    model: call.scope.model,
    servedModel: end.model,
    upstream: end.upstream,
    peer: end.peer,
    status: end.status,
    outcome: end.outcome,
    cached: end.cached,
    request: parts && bodyOf(parts.request, call.requestMediaType, blobs),
    response: parts && bodyOf(parts.response, end.mediaType, blobs),
    withheld: recording.withheld,
    usage: end.usage && wholeUsage(end.usage),
    costNanoUsd: String(end.cost?.nanoUsd ?? 0n),
    priced: end.cost?.priced ?? false,
    priceMap: end.cost?.priceMapHash ?? '',
    firstByteMs: end.timings.firstByteMs,
    totalMs: end.timings.totalMs,
  }
  return { exchange, blobs }
}

/** Null where there was nothing to send; else its bytes are put to `blobs`. */
function bodyOf(
  { bytes, redacted }: NonNullable<Redacted>,
  mediaType: string,
  blobs: Map<string, Buffer>,
): ExchangeBody | null {
  if (bytes.length === 0) return null
  const hash = hashBytes(bytes)
  blobs.set(hash, bytes)
  return { hash, sizeBytes: bytes.length, mediaType, redacted }
}
